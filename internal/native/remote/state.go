// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// State is what makes a thread go on where it was stopped.
type State struct {
	Registers ptrace.Registers
	// Extended is the floating point and vector state as
	// ptrace.Thread.ExtendedState reads it. Empty: leave it as it is.
	Extended []byte
	// Mask is the set of blocked signals: bit n-1 is signal n.
	Mask uint64
	// Interrupted says that the registers are those of a thread which was stopped in a
	// system call, and that the kernel is to decide what becomes of it, as it does for
	// every such thread. Only Stub.Leave looks at it.
	Interrupted bool
}

// Capture reads the state of a stopped thread that no Runner has used.
//
// A thread inside a restartable sequence (rseq) is put at the sequence's abort
// handler, where the kernel sends it after every preemption: the state of the
// sequence does not survive that other code runs in the thread.
//
// A call that a stop interrupts for the second time has lost its number: the
// thread is in restart_syscall. The number is taken from the code that made the
// call, if it says so.
func Capture(th *ptrace.Thread) (State, error) {
	var s State
	var err error
	if s.Registers, err = th.Registers(); err != nil {
		return State{}, err
	}
	if s.Extended, err = th.ExtendedState(); err != nil {
		return State{}, err
	}
	if s.Mask, err = th.SignalMask(); err != nil {
		return State{}, err
	}
	abort, inside, err := rseqAbort(th, s.Registers.PC())
	if err != nil {
		return State{}, err
	}
	if inside {
		s.Registers.SetPC(abort)
		s.Registers.SetSyscallNumber(-1)
	}
	if s.Registers.SyscallNumber() == unix.SYS_RESTART_SYSCALL {
		if nr, ok := calledBefore(th.TID, s.Registers.PC()); ok {
			s.Registers.SetSyscallNumber(nr)
		}
	}
	return s, nil
}

// Folded is the state with an interrupted system call turned into one that is
// about to be made again, as the kernel does before it lets a thread run on. A
// signal frame and a restored process need it so, for in them nothing but
// registers says what the thread was doing.
//
// A call whose time limit only the kernel knows (nanosleep, poll and futex with
// a time limit) is made again from its beginning. Where that is not good enough,
// change the arguments before. If nobody knows any more which call it was, it ends
// with EINTR.
func (s State) Folded() State {
	r := &s.Registers
	switch {
	case r.SyscallNumber() == unix.SYS_RESTART_SYSCALL && r.Result() == -errRestartBlock:
		r.SetResult(-int64(unix.EINTR))
	case r.SyscallNumber() >= 0:
		switch -r.Result() {
		case errRestartSys, errRestartNoIntr, errRestartNoHand, errRestartBlock:
			repeatCall(r)
		}
	}
	r.SetSyscallNumber(-1)
	return s
}

// foldedForHandler is Folded for a thread that is about to run a signal handler:
// a call that waits for signals, or has a time limit, then ends with EINTR. Those
// that the handler's SA_RESTART decides about are made again.
func (s State) foldedForHandler() State {
	r := &s.Registers
	if r.SyscallNumber() >= 0 && (r.Result() == -errRestartNoHand || r.Result() == -errRestartBlock) {
		r.SetResult(-int64(unix.EINTR))
	}
	return s.Folded()
}

// The kernel's own results of system calls that are to be made again
// (linux/errno.h). Programs never see them, tracers do.
const (
	errRestartSys    = 512
	errRestartNoIntr = 513
	errRestartNoHand = 514
	errRestartBlock  = 516
)

// mended is the state in which to let a live thread run on. It stays unfolded:
// the kernel itself then decides what becomes of the call, also if a signal
// with a handler has come meanwhile.
//
// Some calls end with EINTR because of the stop itself. They are made again unless a
// handler runs: with the time limit that they began with, if they have one. Who knows
// how much of that is left changes it afterwards.
func (s State) mended() State {
	r := &s.Registers
	if r.Result() == -int64(unix.EINTR) && EndedByStops(r.SyscallNumber()) {
		r.SetResult(-errRestartNoHand)
	}
	return s
}

// Mend has a thread that was just stopped repeat its system call if that is one
// which every stop ends with EINTR (see EndedByStops). Its program would otherwise see
// the stop. Doing it twice does no harm.
//
// The sooner after the stop, the better: what is not mended when the tracer is
// killed stays so. A Runner does it when it is first asked for a thread's state.
func Mend(th *ptrace.Thread) error {
	r, err := th.Registers()
	if err != nil {
		return err
	}
	if m := (State{Registers: r}).mended(); m.Registers != r {
		return th.SetRegisters(m.Registers)
	}
	return nil
}

// EndedByStops says whether the call is one that returns EINTR if a stop interrupts
// it, and could be made again: the kernel does not do so by itself. Reads and their
// kin are such only of a socket with a time limit (SO_RCVTIMEO, SO_SNDTIMEO), for as
// long as they have moved nothing.
func EndedByStops(nr int64) bool {
	switch nr {
	case sysEpollWait, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
		unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SEMTIMEDOP, sysSemop,
		unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
		unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG,
		unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		return true
	default:
		return false
	}
}
