// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Wait blocks until the thread stops or ends. For a thread that ended it returns
// a Stop of kind Ended and ErrGone, both; the Status is zero if the thread
// vanished because another one of its process called exec. The end of a
// process's first thread is reported only after that of all others.
//
// A child of crtime that ended is reaped by it. For any other process its
// parent learns of the end as usual.
func (th *Thread) Wait() (Stop, error) {
	s, _, err := th.wait(0)
	return s, err
}

// Poll is Wait without blocking; ok is false when there is no news.
func (th *Thread) Poll() (s Stop, ok bool, err error) { return th.wait(unix.WNOHANG) }

// wait asks the kernel about this thread alone. __WALL includes threads and
// children of every make; __WNOTHREAD leaves out what other threads of crtime
// trace.
func (th *Thread) wait(flags int) (Stop, bool, error) {
	if th.gone {
		return Stop{}, true, fmt.Errorf("wait for thread %d: %w", th.TID, ErrGone)
	}
	var ws unix.WaitStatus
	for {
		got, err := unix.Wait4(th.TID, &ws, flags|unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			th.forget()
			return Stop{}, true, fmt.Errorf("wait for thread %d: %w", th.TID, ErrGone)
		case err != nil:
			return Stop{}, true, fmt.Errorf("wait for thread %d: %w", th.TID, err)
		case got == 0:
			return Stop{}, false, nil
		}
		s, err := th.record(ws)
		return s, true, err
	}
}

// record notes a wait status and completes the Stop.
func (th *Thread) record(ws unix.WaitStatus) (Stop, error) {
	s := newStop(ws)
	if s.Kind == Ended {
		th.forget()
		return s, fmt.Errorf("thread %d has ended: %w", th.TID, ErrGone)
	}
	th.stopped, th.GroupStop, th.signal = true, 0, 0
	switch s.Kind {
	case SignalStop:
		th.signal = s.Signal
	case GroupStop:
		th.GroupStop = s.Signal
	case EventStop:
		message, err := unix.PtraceGetEventMsg(th.TID)
		if err != nil {
			return s, th.explain("ask for the event of", err)
		}
		s.Message = uint64(message)
	default:
	}
	return s, nil
}
