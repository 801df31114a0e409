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
	Client *criu.Client // For whom CRIU is asked, if it is; nil: for this process.
}

// Dumper picks the engine for a dump.
func (c Choice) Dumper(ctx context.Context) (engine.Dumper, error) {
	switch c.Engine {
	case native.Name:
		return &native.Engine{Log: c.Log}, nil
	case criu.Name:
		return c.criu(ctx)
	}
	return &dumper{native: &native.Engine{Log: c.Log}, choice: c}, nil
}

// dumper is the native engine until it finds that it cannot do what is asked of it. It
// has changed and written nothing then, and CRIU takes the whole job.
type dumper struct {
	native *native.Engine
	choice Choice
	taken  *criu.Engine // nil: the native engine does it.
}

// Name implements engine.Dumper: who did it.
func (d *dumper) Name() string {
	if d.taken != nil {
		return d.taken.Name()
	}
	return d.native.Name()
}

// Dump implements engine.Dumper.
func (d *dumper) Dump(ctx context.Context, req engine.DumpRequest, hooks engine.DumpHooks) error {
	return d.do(ctx, func(e engine.Dumper) error { return e.Dump(ctx, req, hooks) })
}

// PreDump implements engine.Dumper.
func (d *dumper) PreDump(ctx context.Context, req engine.DumpRequest) error {
	return d.do(ctx, func(e engine.Dumper) error { return e.PreDump(ctx, req) })
}

// do has an engine do something, and CRIU if the native one cannot. What CRIU has begun
// it goes on with.
func (d *dumper) do(ctx context.Context, something func(engine.Dumper) error) (err error) {
	if d.taken == nil {
		err = something(d.native)
		if !errors.Is(err, engine.ErrUnsupported) || errors.Is(err, engine.ErrUnsavable) {
			return err
		}
		if d.taken, err = d.choice.instead(ctx, err); err != nil {
			return err
		}
	}
	return something(d.taken)
}

// Restorer picks the engine for images, which have been checked
// against their manifest if they have one.
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
	return &criu.Engine{Binary: found, Log: log, Client: c.Client}, nil
}
