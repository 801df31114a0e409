// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// What the kernel leaves as the result of a system call that a stop has
// interrupted (include/linux/errno.h of the kernel). Programs never see them:
// on its way back to the program the kernel repeats the call, or says EINTR.
const (
	restartSys     = -512 // Repeat, unless a handler without SA_RESTART runs first.
	restartNoIntr  = -513 // Repeat in any case.
	restartNoHand  = -514 // Repeat, unless a handler runs first.
	restartBlocked = -516 // Go on with restart_syscall(2): the deadline is in the kernel.
)

// DeadlineKept reports whether a thread with these registers was stopped in a call of
// which the kernel has kept the deadline.
func DeadlineKept(r *ptrace.Registers) bool {
	return r.SyscallNumber() >= 0 && r.Result() == restartBlocked
}

// call is the system call that a thread was in when it was stopped. It is kept
// beside the registers, in which it is folded: from it a restore can tell how long
// the thread had still to wait. Where a sleep has a place for the remaining time
// (nanosleep, clock_nanosleep), the kernel has written it there by then, so it is
// in the images of the memory.
//
// A sleep that has been interrupted before, by an earlier dump or a debugger, is
// the call restart_syscall: its arguments are still those of the sleep, but which
// it was (nanosleep, clock_nanosleep, poll or futex) only the kernel knows.
type call struct {
	number int64
	result int64 // One of those above, or -EINTR.
	args   [6]uint64

	known bool // How long it had still to wait.
	rest  Rest
}

// saveCall keeps the call that a thread was stopped in, before it is folded into regs.
// rest tells how long it had still to wait, nil that nobody can or needs to know.
func saveCall(tc *criu_core.ThreadCoreEntry, regs *ptrace.Registers, rest func(limit Limit, whole int64) (Rest, bool)) {
	c := call{number: regs.SyscallNumber(), result: regs.Result(), args: regs.Args()}
	if c.number < 0 {
		return
	}
	switch c.result {
	case restartSys, restartNoIntr, restartNoHand, restartBlocked, -int64(unix.EINTR):
	default:
		return
	}
	if limit := c.limited(); limit != NoLimit && rest != nil {
		c.rest, c.known = rest(limit, c.whole())
	}
	setCall(tc, c)
}

// saRestart is SA_RESTART.
const saRestart = 0x10000000

// outcome is what becomes of an interrupted system call.
type outcome int

const (
	asItIs outcome = iota // No system call was interrupted.
	repeat                // The call is made again.
	eintr                 // It returns EINTR.
)

// handler says whether a signal handler will run as soon as the thread does.
type handler struct {
	runs    bool
	restart bool // It was set up with SA_RESTART.
}

// resolve decides what the kernel would do about the call that regs were stopped
// in, h being the handler that runs first. A call whose deadline only the kernel
// knows (nanosleep, poll and futex with a timeout) returns EINTR: repeating it
// would wait anew for the whole time.
func resolve(regs *ptrace.Registers, h handler) outcome {
	if regs.SyscallNumber() < 0 {
		return asItIs
	}
	switch regs.Result() {
	case restartNoIntr:
		return repeat
	case restartSys:
		if h.runs && !h.restart {
			return eintr
		}
		return repeat
	case restartNoHand:
		if h.runs {
			return eintr
		}
		return repeat
	case restartBlocked:
		if !h.runs && regs.SyscallNumber() == unix.SYS_FUTEX && regs.Args()[1]&futexCommand == futexWaitBitset {
			return repeat // Its limit is a moment, not a time.
		}
		return eintr
	case -int64(unix.EINTR):
		// The stop itself would be visible to the program.
		if !h.runs && remote.EndedByStops(regs.SyscallNumber()) {
			return repeat
		}
	}
	return asItIs
}

// fold writes the outcome into the registers, so that whoever runs them needs no
// help from the kernel. It changes nothing if it is done again.
func fold(regs *ptrace.Registers, h handler) {
	switch resolve(regs, h) {
	case repeat:
		regs.SetPC(regs.PC() - syscallSize)
		setRepeat(regs)
	case eintr:
		regs.SetResult(-int64(unix.EINTR))
	case asItIs:
	}
}

// pendingHandler finds the handler that a thread will run first: that of the
// lowest of the pending signals which it does not block.
func pendingHandler(mask uint64, queues [][][128]byte, actions []sigaction) handler {
	lowest := 0
	for _, queue := range queues {
		for i := range queue {
			info := ptrace.SigInfo(queue[i])
			sig := int(info.Signal())
			if sig < 1 || sig > len(actions) || mask&(1<<(sig-1)) != 0 {
				continue
			}
			if a := actions[sig-1]; a.handler <= sigIgn {
				continue
			}
			if lowest == 0 || sig < lowest {
				lowest = sig
			}
		}
	}
	if lowest == 0 {
		return handler{}
	}
	return handler{runs: true, restart: actions[lowest-1].flags&saRestart != 0}
}
