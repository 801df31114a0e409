// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/proc"
)

// recording finds out when a tree is frozen and writes down what its clocks said,
// whoever dumps it. Its methods are called one after the other.
type recording struct {
	root    int
	freezer string // As in Options.FreezeCgroup.
	last    bool   // A thread in the middle of reading a clock is accepted.
	clocks  *hostclock.Reader
	staging *image.Staging

	watcher *watcher
	seen    *freeze // nil: the freeze instant is not known yet.
	state   *clockstate.State
	// clockReader is as in Report.
	clockReader int
}

// freezing starts to look for the freeze instant.
func (r *recording) freezing() error {
	r.watcher = watch(r.root, r.freezer, r.clocks)
	return nil
}

// frozen notes what a tree that the engine has just stopped consists of.
func (r *recording) frozen(at clockstate.HostReading) error {
	s, err := proc.Scan(r.root)
	if err != nil {
		return fmt.Errorf("look at the stopped tree: %w", err)
	}
	r.seen = &freeze{reading: at, source: clockstate.FreezeStopped, snapshot: s}
	return nil
}

// write records the clocks of a tree that is collected and still stopped, and writes
// the clock image.
func (r *recording) write(engine string) error {
	f, err := r.freezeInstant()
	if err != nil {
		return err
	}
	r.seen = f
	if r.state, err = record(r.root, f, engine); err != nil {
		return err
	}
	data, err := clockstate.Encode(r.state)
	if err != nil {
		return err
	}
	return r.staging.WriteFile(clockstate.FileName, data)
}

// freezeInstant is what is known about the freeze. What an engine said that it had
// stopped it has held since; a tree that was watched from outside is looked at
// once more.
func (r *recording) freezeInstant() (*freeze, error) {
	if r.watcher == nil && r.seen != nil {
		return r.seen, nil
	}
	if r.watcher != nil {
		r.seen = r.watcher.result()
		r.watcher = nil
	}
	f, err := confirm(r.root, r.seen, r.clocks)
	if err != nil {
		return nil, err
	}
	if r.clockReader, err = clockReader(f.snapshot, r.staging.Path()); err != nil {
		return nil, fmt.Errorf("see where each thread was stopped: %w", err)
	}
	if r.clockReader != 0 && !r.last {
		return nil, fmt.Errorf("%w: thread %d", ErrClockRead, r.clockReader)
	}
	return f, nil
}

// end ends a watch that write has not: the dump was given up before.
func (r *recording) end() {
	if r.watcher != nil {
		r.watcher.result()
		r.watcher = nil
	}
}
