// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Kind says why a thread stopped.
type Kind int

// The reasons of a stop, in the words of ptrace(2).
const (
	// Ended: the thread is no more; Stop.Status says how it ended.
	Ended Kind = iota
	// SyscallStop: before or after a system call (after ContinueToSyscall).
	SyscallStop
	// SignalStop: Stop.Signal is about to be delivered. It is lost unless it is
	// given to Continue.
	SignalStop
	// EventStop: Stop.Event, one of unix.PTRACE_EVENT_*, has happened.
	EventStop
	// Interrupted: after Interrupt, or the first stop of an adopted thread.
	Interrupted
	// GroupStop: the process is stopped by Stop.Signal, as by SIGSTOP.
	GroupStop
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Ended:
		return "ended"
	case SyscallStop:
		return "system call stop"
	case SignalStop:
		return "signal stop"
	case EventStop:
		return "event stop"
	case Interrupted:
		return "interrupted"
	case GroupStop:
		return "group stop"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Stop is one stop of a thread, or its end.
type Stop struct {
	Kind Kind
	// Signal is the signal of a SignalStop or GroupStop, otherwise 0.
	Signal unix.Signal
	// Event is PTRACE_EVENT_CLONE, _FORK, _VFORK, _VFORK_DONE, _EXEC or _EXIT of
	// an EventStop, otherwise 0.
	Event int
	// Message belongs to an EventStop: the new thread's number for a clone, fork
	// and vfork, the thread's former number for an exec, the wait status for an
	// exit. It is 0 for every other kind.
	Message uint64
	// Status is what the kernel's wait call said.
	Status unix.WaitStatus
}

// syscallBit is what PTRACE_O_TRACESYSGOOD adds to SIGTRAP in system call stops.
const syscallBit = 0x80

// newStop reads a wait status. It fills in everything but Message.
func newStop(ws unix.WaitStatus) Stop {
	s := Stop{Status: ws}
	if !ws.Stopped() {
		return s
	}
	sig := ws.StopSignal()
	event := int(uint32(ws) >> 16)
	switch {
	case event == unix.PTRACE_EVENT_STOP && sig == unix.SIGTRAP:
		s.Kind = Interrupted
	case event == unix.PTRACE_EVENT_STOP:
		s.Kind, s.Signal = GroupStop, sig
	case event != 0:
		s.Kind, s.Event = EventStop, event
	case sig == unix.SIGTRAP|syscallBit:
		s.Kind = SyscallStop
	default:
		s.Kind, s.Signal = SignalStop, sig
	}
	return s
}
