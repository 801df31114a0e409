// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
)

// Notify adds crtime's record of the clocks to a dump that a program makes with go-criu.
// It goes between go-criu and the program's own hooks, and passes every call on.
//
// At PreDump, after the program's own, it begins to watch for the moment at which the
// tree stands still, and reads the clocks then. At PostDump, before the program's own
// and with the tree still stopped, it writes the clock image and the manifest into the
// image directory and brings everything to disk. crtime and package restore can restore
// such a directory, and so can plain CRIU.
//
// An error of either, or of the program's own hook, refuses the dump: CRIU lets the tree
// run on as it was, and of the images nothing is left but CRIU's log. So that CRIU
// notices at once, a program that has called [criu.Criu.Prepare] itself has to call
// Cleanup then.
//
// A Notify serves one dump at a time. It is for go-criu's Dump, not for its PreDump:
// in a pre-dump the clocks go on.
type Notify struct {
	hooks

	// Once accepts that a thread was stopped in the middle of reading a clock, where the
	// dump would be refused with ErrClockRead, to be made again; see Report.ClockReader.
	Once bool

	opts   *rpc.CriuOpts
	stops  patience
	run    *recording // nil: no dump is under way, and none has ended since Close.
	dir    string     // Of run, absolute.
	begun  clockstate.HostReading
	report *Report
}

// hooks are the program's own, which get every call that Notify does not take.
type hooks = criu.Notify

var _ criu.Notify = (*Notify)(nil)

// NewNotify makes the hooks for go-criu's Dump with the same opts, of which it reads the
// process (Pid) and the image directory (ImagesDirFd or ImagesDir) when the dump begins.
// own are the program's own hooks; nil: it has none.
//
// The caller calls Close after the dump.
func NewNotify(opts *rpc.CriuOpts, own criu.Notify) *Notify {
	if own == nil {
		own = criu.NoNotify{}
	}
	return &Notify{hooks: own, opts: opts}
}

// Report says what was recorded. It is nil if the last dump has not succeeded as far as
// a hook can tell: CRIU is not quite done after the last of them, so ask go-criu first.
// Frozen and Duration end with PostDump.
func (n *Notify) Report() *Report { return n.report }

// Close ends what a dump that CRIU gave up has left: the watch, and images that are not
// complete. What has been recorded stays, and so does the report.
func (n *Notify) Close() error {
	run := n.run
	if run == nil {
		return nil
	}
	n.run = nil
	run.end()
	if n.report == nil {
		return run.staging.Discard()
	}
	return run.staging.Close()
}

// PreDump implements criu.Notify.
func (n *Notify) PreDump() error {
	n.report = nil
	if err := errors.Join(n.Close(), n.hooks.PreDump()); err != nil {
		return err
	}
	if err := n.begin(); err != nil {
		return fmt.Errorf("dump process %d: %w", n.opts.GetPid(), err)
	}
	return nil
}

// begin begins to watch.
func (n *Notify) begin() error {
	pid := int(n.opts.GetPid())
	if err := checkTarget(pid); err != nil {
		return err
	}
	clocks, err := hostclock.NewReader()
	if err != nil {
		return err
	}
	if n.begun, err = clocks.Read(); err != nil {
		return err
	}
	dir, err := image.OpenClient(n.opts.GetImagesDirFd(), n.opts.GetImagesDir())
	if err != nil {
		return err
	}
	defer dir.Close()
	staging, err := image.Adopt(dir)
	if err != nil {
		return err
	}
	n.dir = dir.Name()
	n.run = &recording{root: pid, freezer: n.opts.GetFreezeCgroup(), clocks: clocks, staging: staging, last: n.stops.spent(n.begun.Monotonic) || n.Once}
	return n.run.freezing()
}

// PostDump implements criu.Notify.
func (n *Notify) PostDump() error {
	err := n.record()
	if !errors.Is(err, ErrClockRead) {
		n.stops = patience{}
	}
	if err != nil {
		err = fmt.Errorf("dump process %d: %w", n.opts.GetPid(), err)
	} else {
		err = n.hooks.PostDump()
	}
	if err != nil {
		n.report = nil
		return errors.Join(err, n.Close())
	}
	return nil
}

// record writes what is to be recorded and completes the images.
func (n *Notify) record() error {
	if n.run == nil {
		return errors.New("criu did not say that it was about to stop the tree")
	}
	if err := n.run.write(engine.CRIU); err != nil {
		return err
	}
	m, err := n.run.staging.Commit()
	if err != nil {
		return err
	}
	end, err := n.run.clocks.Read()
	if err != nil {
		return err
	}
	n.report = &Report{
		PID:         n.run.root,
		ImagesDir:   n.dir,
		Engine:      engine.CRIU,
		State:       n.run.state,
		Bytes:       m.Bytes(),
		Frozen:      end.Monotonic - n.run.state.Freeze.Monotonic,
		Duration:    end.Monotonic - n.begun.Monotonic,
		ClockReader: n.run.clockReader,
	}
	return nil
}
