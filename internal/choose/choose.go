// SPDX-License-Identifier: Apache-2.0

// Package choose picks the engine for a dump or a restore.
//
// Under Auto the native engine is asked first whether it can represent the whole
// tree, or all of the images; nothing is touched by that. Where it cannot, CRIU
// takes the whole job if one that works is there, unless it is known to lose what the
// native engine refuses. It is never half of each.
package choose

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native"
	"github.com/crtime/crtime/internal/proc"
)

// Auto lets the job decide.
const Auto = "auto"

// Names are the values that Choice.Engine takes.
func Names() []string { return []string{Auto, native.Name, criu.Name} }

// Choice is what a user asked for.
type Choice struct {
	Engine string // One of Names.
	CRIU   string // Path of the criu program; "": look for it.
	Log    *zap.Logger
}

// Job says what a dump needs of its engine.
type Job struct {
	engine.Options

	PID      int
	TrackMem bool // Memory tracking, a pre-dump, or a dump upon an earlier one.
}

// Dumper picks the engine for a dump.
func (c Choice) Dumper(ctx context.Context, job Job) (engine.Dumper, error) {
	switch c.Engine {
	case native.Name:
		return &native.Engine{Log: c.Log}, nil
	case criu.Name:
		return c.criu(ctx)
	}
	why, err := nativeCannot(job)
	if err != nil {
		return nil, err
	}
	if why == nil {
		return &unlessSurprised{Engine: &native.Engine{Log: c.Log, Surveyed: true}, choice: c}, nil
	}
	return c.instead(ctx, why)
}

// unlessSurprised is the native engine, which has looked at a tree from outside,
// until it finds something in the stopped tree that it cannot represent. It has
// changed and written nothing then, and CRIU takes the whole job.
type unlessSurprised struct {
	*native.Engine
	choice Choice
	taken  *criu.Engine // nil: the native engine did it.
}

// Name implements engine.Dumper: who did it.
func (u *unlessSurprised) Name() string {
	if u.taken != nil {
		return u.taken.Name()
	}
	return u.Engine.Name()
}

// Dump implements engine.Dumper.
func (u *unlessSurprised) Dump(ctx context.Context, req engine.DumpRequest, hooks engine.DumpHooks) error {
	err := u.Engine.Dump(ctx, req, hooks)
	if !errors.Is(err, engine.ErrUnsupported) || errors.Is(err, engine.ErrUnsavable) {
		return err
	}
	instead, err := u.choice.instead(ctx, err)
	if err != nil {
		return err
	}
	u.taken = instead
	return instead.Dump(ctx, req, hooks)
}

// Restorer picks the engine for images, which have been checked
// against their manifest.
func (c Choice) Restorer(ctx context.Context, im *image.Images, o engine.Options) (engine.Restorer, error) {
	switch c.Engine {
	case native.Name:
		return &native.Engine{Log: c.Log}, nil
	case criu.Name:
		return c.criu(ctx)
	}
	checked, why := native.Check(im, o)
	if why == nil {
		return &native.Engine{Log: c.Log, Checked: checked}, nil
	}
	if !errors.Is(why, engine.ErrUnsupported) {
		return nil, why
	}
	return c.instead(ctx, why)
}

// Valid reports whether the engine's name is known.
func (c Choice) Valid() bool { return slices.Contains(Names(), c.Engine) }

// nativeCannot says why the native engine cannot do a dump, nil if it can.
func nativeCannot(job Job) (why, err error) {
	if job.TrackMem {
		return fmt.Errorf("%w: the native engine does not track memory between dumps", engine.ErrUnsupported), nil
	}
	obstacles, err := native.Survey(job.PID, job.Options)
	if errors.Is(err, proc.ErrGone) {
		return nil, nil // Whoever dumps explains that best.
	}
	if err != nil || len(obstacles) == 0 {
		return nil, err
	}
	return &native.UnsupportedError{Obstacles: obstacles}, nil
}

// instead takes CRIU for what the native engine cannot do. It warns: CRIU keeps fewer
// of the promises, and who would have none of it can name the engine.
func (c Choice) instead(ctx context.Context, why error) (*criu.Engine, error) {
	e, err := c.criu(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; and CRIU, which may be able to, cannot be used: %w", why, err)
	}
	e.Log.Warn("taking CRIU", zap.NamedError("because", why))
	return e, nil
}

// criu finds CRIU.
func (c Choice) criu(ctx context.Context) (*criu.Engine, error) {
	found, err := criu.Find(ctx, c.CRIU)
	if err != nil {
		return nil, err
	}
	log := c.Log
	if log == nil {
		log = zap.NewNop()
	}
	log.Debug("criu found", zap.String("path", found.Path), zap.Stringer("version", found.Version))
	return &criu.Engine{Binary: found, Log: log}, nil
}
