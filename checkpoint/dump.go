// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/proc"
)

// Options say what to dump and where to. PID and ImagesDir are required.
type Options struct {
	engine.Options

	PID       int    // Root of the tree, in the caller's pid namespace.
	ImagesDir string // Must not exist, or be empty.
	// ImagesAt is an open directory to write into as it is, whatever it holds, instead
	// of ImagesDir. It stays the caller's.
	ImagesAt     *os.File
	LeaveRunning bool   // Let the tree run on afterwards; otherwise it is killed.
	TrackMem     bool   // Track which memory changes from now on.
	PrevImages   string // Directory of an earlier dump, relative to ImagesDir; "": none.
	// FreezeCgroup is the path of a control group that the engine freezes before it
	// stops the tree; "": none.
	FreezeCgroup string
	// Once stops the tree once, also if a thread stands in the middle of reading a clock
	// and the engine cannot send it on: for callers to whom each moment is told once.
	Once bool
	// Lazy says that pages of the tree are fetched from the engine when all else has been
	// written, by a restore elsewhere that needs complete images: they are committed
	// before, also for a tree that is to run on.
	Lazy bool
}

// stage begins to write images.
func (o *Options) stage() (*image.Staging, error) {
	if o.ImagesAt != nil {
		return image.Adopt(o.ImagesAt)
	}
	return image.Stage(o.ImagesDir)
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
	// Warning is what went wrong without harm; nil normally.
	Warning error
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
	final, err := o.imagesPath()
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
		Warning:     run.closing,
	}, nil
}

// imagesPath is where the images are, absolute.
func (o *Options) imagesPath() (string, error) {
	if o.ImagesAt != nil {
		return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", o.ImagesAt.Fd()))
	}
	return filepath.Abs(o.ImagesDir)
}

// repeat dumps until no thread was stopped in the middle of reading a clock, or
// the bounds are reached.
func repeat(ctx context.Context, d engine.Dumper, o Options, clocks *hostclock.Reader) (*dump, error) {
	var stops patience
	for {
		now, err := clocks.Read()
		if err != nil {
			return nil, err
		}
		run := &dump{
			Options: o, engine: d,
			recording: recording{root: o.PID, freezer: o.FreezeCgroup, clocks: clocks, last: stops.spent(now.Monotonic) || o.Once},
		}
		if run.staging, err = o.stage(); err != nil {
			return nil, err
		}
		err = run.do(ctx)
		if err == nil {
			// What is left to be done is to keep CRIU's statistics private.
			run.closing = run.staging.Close()
			return run, nil
		}
		if run.manifest != nil && !allAlive(run.seen.snapshot) {
			return nil, errors.Join(fmt.Errorf("some of the tree has ended already; the images in %s are complete and stay: %w",
				run.staging.Path(), err), run.staging.Close())
		}
		discardErr := run.staging.Discard()
		if !errors.Is(err, ErrClockRead) || discardErr != nil {
			return nil, errors.Join(err, discardErr)
		}
	}
}

// allAlive reports whether every process that was frozen is still there.
func allAlive(s *proc.Snapshot) bool {
	for _, task := range s.Tasks {
		st, err := proc.ReadStat(task.PID)
		if err != nil || !task.Zombie && (st.State == proc.Zombie || st.State == proc.Dead) {
			return false
		}
	}
	return true
}

// dump is one dump under way. Its hooks are called by the engine, one after
// the other.
type dump struct {
	Options
	recording

	engine   engine.Dumper // Its name may change during the dump.
	manifest image.Manifest
	released clockstate.HostReading
	closing  error // Of the committed staging directory; nothing is lost by it.
}

// do runs the engine and commits the images.
func (d *dump) do(ctx context.Context) error {
	req := engine.DumpRequest{
		Options:      d.Options.Options,
		PID:          d.PID,
		Images:       d.staging,
		LeaveRunning: d.LeaveRunning,
		TrackMem:     d.TrackMem,
		Parent:       parentFrom(d.staging, d.PrevImages),
	}
	err := d.engine.Dump(ctx, req, engine.DumpHooks{
		Freezing: d.freezing, ReadClocks: d.clocks.Read, Frozen: d.frozen, Collected: d.collected,
	})
	d.end() // An engine that failed in between never called collected.
	if err != nil {
		return err
	}
	if d.state == nil {
		return fmt.Errorf("engine %s ended without having stopped the tree", d.engine.Name())
	}
	if d.released, err = d.clocks.Read(); err != nil {
		return err
	}
	if d.manifest == nil {
		d.manifest, err = d.staging.Commit()
	}
	return err
}

// collected records the clocks. For a tree that is about to be killed it also
// commits, so that at every instant there is either the tree or its images; and where
// somebody waits for the images before the engine is done.
func (d *dump) collected() error {
	err := d.write(d.engine.Name())
	if err == nil && (!d.LeaveRunning || d.Lazy) {
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
