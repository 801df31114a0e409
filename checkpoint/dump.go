// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
)

// Options say what to dump and where to. PID and ImagesDir are required.
type Options struct {
	engine.Options

	PID          int    // Root of the tree, in the caller's pid namespace.
	ImagesDir    string // Must not exist, or be empty.
	LeaveRunning bool   // Let the tree run on afterwards; otherwise it is killed.
	TrackMem     bool   // Track which memory changes from now on.
	PrevImages   string // Directory of an earlier dump, relative to ImagesDir; "": none.
}

// Report says what a dump did.
type Report struct {
	PID       int
	ImagesDir string // Absolute.
	Engine    string
	State     *clockstate.State
	Bytes     int64            // Size of all images.
	Frozen    clockstate.Nanos // From the freeze instant until the tree was released or killed.
	Duration  clockstate.Nanos // From begin to end.
	// ClockReader is a thread that stood in the middle of reading a clock each
	// time the tree was stopped, 0 normally: one reading of its may be wrong by
	// up to the outage or a second after the restore.
	ClockReader int
}

// Dump saves the tree below o.PID into o.ImagesDir. On an error the tree runs on
// as it was, and no image directory is left. When ctx ends before the tree has
// been collected, the dump is undone.
func Dump(ctx context.Context, d engine.Dumper, o Options) (*Report, error) {
	clocks, err := hostclock.NewReader()
	if err != nil {
		return nil, err
	}
	begin, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	if err := checkTarget(o.PID); err != nil {
		return nil, err
	}
	run, err := repeat(ctx, d, o, clocks)
	if err != nil {
		return nil, fmt.Errorf("dump process %d: %w", o.PID, err)
	}
	end, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	final, err := filepath.Abs(o.ImagesDir)
	if err != nil {
		return nil, err
	}
	return &Report{
		PID:       o.PID,
		ImagesDir: final,
		Engine:    d.Name(),
		State:     run.state,
		Bytes:     run.manifest.Bytes(),
		Frozen:    run.released.Monotonic - run.state.Freeze.Monotonic,
		Duration:  end.Monotonic - begin.Monotonic,

		ClockReader: run.clockReader,
	}, nil
}

// How often a tree is stopped anew to find every thread outside the vdso, and for
// how long. A program that does nothing but read clocks is outside it in one of
// three stops; any other one nearly always.
const (
	mostStops   = 12
	longestTime = clockstate.Nanos(3 * time.Second)
)

// repeat dumps until no thread was stopped in the middle of reading a clock, or
// the bounds are reached.
func repeat(ctx context.Context, d engine.Dumper, o Options, clocks *hostclock.Reader) (*dump, error) {
	begin, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	for stop := 1; ; stop++ {
		now, err := clocks.Read()
		if err != nil {
			return nil, err
		}
		run := &dump{
			Options: o, clocks: clocks, engineName: d.Name(),
			last: stop == mostStops || now.Monotonic-begin.Monotonic > longestTime,
		}
		if run.staging, err = image.Stage(o.ImagesDir); err != nil {
			return nil, err
		}
		if err = run.do(ctx, d); err == nil {
			return run, run.staging.Close()
		}
		discardErr := run.staging.Discard()
		if !errors.Is(err, errClockRead) || discardErr != nil {
			return nil, errors.Join(err, discardErr)
		}
	}
}

// dump is one dump under way. Its hooks are called by the engine, one after
// the other.
type dump struct {
	Options
	engineName string
	last       bool // A thread in the middle of reading a clock is accepted.
	clocks     *hostclock.Reader
	staging    *image.Staging

	watcher  *watcher
	seen     *freeze // nil: the freeze instant is not known yet.
	state    *clockstate.State
	manifest image.Manifest
	released clockstate.HostReading
	// clockReader is as in Report.
	clockReader int
}

// do runs the engine and commits the images.
func (d *dump) do(ctx context.Context, e engine.Dumper) error {
	req := engine.DumpRequest{
		Options:      d.Options.Options,
		PID:          d.PID,
		Images:       d.staging.Dir(),
		LeaveRunning: d.LeaveRunning,
		TrackMem:     d.TrackMem,
		Parent:       parentFrom(d.staging, d.PrevImages),
	}
	err := e.Dump(ctx, req, engine.DumpHooks{
		Freezing: d.freezing, Frozen: d.frozen, Collected: d.collected,
	})
	if d.watcher != nil {
		// An engine that failed in between never called collected.
		d.watcher.result()
	}
	if err != nil {
		return err
	}
	if d.state == nil {
		return fmt.Errorf("engine %s ended without having stopped the tree", e.Name())
	}
	if d.released, err = d.clocks.Read(); err != nil {
		return err
	}
	if d.LeaveRunning {
		d.manifest, err = d.staging.Commit()
	}
	return err
}

// freezing starts to look for the freeze instant.
func (d *dump) freezing() error {
	d.watcher = watch(d.PID, d.clocks)
	return nil
}

// frozen reads the clocks of a tree that the engine has just stopped.
func (d *dump) frozen() (err error) {
	d.seen, err = stoppedNow(d.PID, d.clocks)
	return err
}

// collected records the clocks. For a tree that is about to be killed it also
// commits, so that at every instant there is either the tree or its images.
func (d *dump) collected() error {
	if d.watcher != nil {
		d.seen = d.watcher.result()
		d.watcher = nil
	}
	f, err := confirm(d.PID, d.seen, d.clocks)
	if err != nil {
		return err
	}
	if d.clockReader, err = clockReader(f.snapshot, d.staging.Path()); err != nil {
		return fmt.Errorf("see where each thread was stopped: %w", err)
	}
	if d.clockReader != 0 && !d.last {
		return fmt.Errorf("%w: thread %d", errClockRead, d.clockReader)
	}
	if d.state, err = record(d.PID, f, d.engineName); err != nil {
		return err
	}
	data, err := clockstate.Encode(d.state)
	if err != nil {
		return err
	}
	if err := d.staging.WriteFile(clockstate.FileName, data); err != nil {
		return err
	}
	if !d.LeaveRunning {
		d.manifest, err = d.staging.Commit()
	}
	return err
}

// parentFrom returns an earlier dump's directory as seen from where the images
// are written.
func parentFrom(s *image.Staging, prev string) string {
	if prev == "" || filepath.IsAbs(prev) || !s.Inside() {
		return prev
	}
	return filepath.Join("..", prev)
}
