// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// await waits until everything that was told to stop has stopped or ended.
func (f *freezer) await(ctx context.Context) error {
	p := newPause()
	for {
		before := f.running
		f.running = nil
		moved := false
		for _, th := range before {
			done, err := f.advance(th)
			if err != nil {
				return err
			}
			if !done {
				f.running = append(f.running, th)
			}
			moved = moved || done
		}
		switch {
		case len(f.running) == 0:
			return nil
		case ctx.Err() != nil:
			return f.running[0].stuck(context.Cause(ctx))
		case moved:
			p.reset()
		case p.long():
			if err := f.dropEndedLeaders(); err != nil {
				return err
			}
		}
		p.wait()
	}
}

// advance asks once whether a thread has stopped. done says that it is not waited
// for any more.
func (f *freezer) advance(th *Thread) (done bool, err error) {
	s, news, err := th.Poll()
	if errors.Is(err, ErrGone) {
		return true, nil
	}
	if err != nil || !news {
		return false, err
	}
	return f.handle(th, s)
}

// handle looks at a stop of a thread that was told to stop. If it has stopped for
// another reason, it runs on from that until it does as it was told.
func (f *freezer) handle(th *Thread, s Stop) (done bool, err error) {
	sig := unix.Signal(0)
	switch s.Kind {
	case Interrupted, GroupStop:
		if f.held[th] {
			return true, nil
		}
		return true, ignoreGone(th.Detach(0))
	case SignalStop:
		sig = s.Signal
	case EventStop:
		f.birth(s)
	default:
	}
	// Every other stop has taken the place of the interruption.
	if err := ignoreGone(th.Interrupt()); err != nil {
		return false, err
	}
	return false, ignoreGone(th.Continue(sig))
}

// birth takes care of the task that an event stop reports. It stops by itself.
// One that was made by vfork is let go then, because its maker cannot stop
// before it has called exec; it is found among its maker's children.
func (f *freezer) birth(s Stop) {
	switch s.Event {
	case unix.PTRACE_EVENT_CLONE, unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
		th := f.t.Adopt(int(s.Message))
		if _, known := f.held[th]; known {
			return
		}
		f.held[th] = s.Event != unix.PTRACE_EVENT_VFORK
		f.running = append(f.running, th)
	default:
	}
}

// dropEndedLeaders stops waiting for first threads of processes that have ended:
// the kernel reports their end only after that of all others.
func (f *freezer) dropEndedLeaders() error {
	var rest []*Thread
	for _, th := range f.running {
		st, err := proc.ReadStat(th.TID)
		if err != nil && !errors.Is(err, ErrGone) {
			return err
		}
		if err != nil || st.State != proc.Zombie {
			rest = append(rest, th)
			continue
		}
		// It stays attached until the tracer ends; what can be done with it is
		// for the process's other threads to decide.
		th.forget()
	}
	f.running = rest
	return nil
}

// stuck is the error for a thread that did not stop in time.
func (th *Thread) stuck(cause error) error {
	e := &StuckError{PID: th.TID, TID: th.TID, State: '?', Cause: cause}
	if status, err := proc.ReadStatus(th.TID); err == nil {
		e.PID = status.ThreadGroup
	}
	if st, err := proc.ReadStat(th.TID); err == nil {
		e.State = st.State
	}
	return e
}

// ignoreGone is err, unless that says that the thread is gone.
func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
