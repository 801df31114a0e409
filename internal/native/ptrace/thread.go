// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Thread is one traced thread. But for Interrupt and Wait every method needs it
// to be stopped, and gives ErrNotStopped or ErrGone otherwise: SIGKILL ends a
// stopped thread too.
type Thread struct {
	TID int
	// GroupStop is the signal that had stopped the thread's process when the
	// thread last stopped, as SIGSTOP does; 0: none.
	GroupStop unix.Signal

	tracer  *Tracer
	signal  unix.Signal // That of a SignalStop until the thread is made to run on.
	stopped bool        // As far as this package knows.
	gone    bool
	own     bool // Killed when the tracer ends.
}

// Stopped reports whether the thread has stopped and was not made to run since.
// It asks nobody: a stopped thread that was killed still counts.
func (th *Thread) Stopped() bool { return th.stopped && !th.gone }

// Interrupt makes a running thread stop soon; Wait then says Interrupted, or
// GroupStop, or the kind of another stop that came first. Another stop takes
// the place of the interruption. On a stopped thread it takes effect when the
// thread is continued.
func (th *Thread) Interrupt() error {
	return th.call("interrupt", unix.PTRACE_INTERRUPT, 0, 0)
}

// Continue makes a stopped thread run on. sig is delivered to it if it is in a
// SignalStop, 0 for none.
func (th *Thread) Continue(sig unix.Signal) error {
	return th.resume("continue", unix.PTRACE_CONT, sig)
}

// ContinueToSyscall is Continue up to the next beginning or end of a system call.
func (th *Thread) ContinueToSyscall(sig unix.Signal) error {
	return th.resume("continue to the next system call", unix.PTRACE_SYSCALL, sig)
}

// Listen leaves a thread of a stopped process (GroupStop) as it is, but lets
// events such as SIGCONT through, which Wait then reports.
func (th *Thread) Listen() error { return th.resume("listen to", unix.PTRACE_LISTEN, 0) }

// Detach ends the tracing of a stopped thread and lets it run on, or stay
// stopped if its process is stopped by a signal. sig is as with Continue. The
// Thread is of no use afterwards.
func (th *Thread) Detach(sig unix.Signal) error {
	err := th.resume("detach", unix.PTRACE_DETACH, sig)
	if err == nil || errors.Is(err, ErrGone) {
		th.forget()
	}
	return err
}

// Outlive takes back that the kernel kills a stopped thread of SeizeOwn when the
// tracer ends: from now on it is let go then, like any other.
func (th *Thread) Outlive() error {
	err := th.call("change the tracing of", unix.PTRACE_SETOPTIONS, 0, options)
	if err == nil {
		th.own = false
	}
	return err
}

// forget takes the thread off the tracer's list.
func (th *Thread) forget() {
	th.gone = true
	delete(th.tracer.threads, th.TID)
}

// resume makes a request that ends a stop.
func (th *Thread) resume(what string, req int, sig unix.Signal) error {
	err := th.call(what, req, 0, uintptr(sig))
	if err == nil {
		th.stopped, th.signal = false, 0
	}
	return err
}

// call makes one request about the thread and explains its failure.
func (th *Thread) call(what string, req int, addr, data uintptr) error {
	if th.gone {
		return fmt.Errorf("%s thread %d: %w", what, th.TID, ErrGone)
	}
	return th.explain(what, request(req, th.TID, addr, data))
}

// explain turns the error of a request into one that says what is the matter.
func (th *Thread) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ESRCH) {
		err = th.why()
	}
	return fmt.Errorf("%s thread %d: %w", what, th.TID, err)
}

// why finds the meaning of ESRCH: the kernel says it of a thread that is gone,
// that runs, and that another thread traces.
func (th *Thread) why() error {
	switch {
	case unix.Gettid() != th.tracer.tid:
		return errors.New("the call was not made on the thread that traces it")
	case !th.stopped && !th.gone:
		return ErrNotStopped
	default:
		return ErrGone
	}
}
