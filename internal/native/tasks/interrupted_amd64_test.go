// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"testing"

	"golang.org/x/sys/unix"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// inCall makes the registers of a thread that was stopped in a system call.
func inCall(nr, result int64, args ...uint64) *ptrace.Registers {
	r := &ptrace.Registers{}
	r.SetPC(0x1000)
	r.Rdi, r.Rsi, r.Rdx, r.R10 = 1, 2, 3, 4
	for i, into := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10} {
		if i < len(args) {
			*into = args[i]
		}
	}
	r.SetResult(result)
	r.SetSyscallNumber(nr)
	return r
}

func TestFold(t *testing.T) {
	const eintrResult = -int64(unix.EINTR)
	forever := ^uint64(0)
	tests := []struct {
		name string
		regs *ptrace.Registers
		h    handler
		want outcome
	}{
		{"in no call", inCall(-1, restartSys), handler{}, asItIs},
		{"finished", inCall(unix.SYS_READ, 5), handler{}, asItIs},
		{"read", inCall(unix.SYS_READ, restartSys), handler{}, repeat},
		{"read, handler", inCall(unix.SYS_READ, restartSys), handler{runs: true}, eintr},
		{"read, handler with SA_RESTART", inCall(unix.SYS_READ, restartSys), handler{true, true}, repeat},
		{"must be repeated", inCall(unix.SYS_FORK, restartNoIntr), handler{runs: true}, repeat},
		{"pause", inCall(unix.SYS_PAUSE, restartNoHand), handler{}, repeat},
		{"pause, handler", inCall(unix.SYS_PAUSE, restartNoHand), handler{true, true}, eintr},
		{"nanosleep", inCall(unix.SYS_NANOSLEEP, restartBlocked), handler{}, eintr},
		{"epoll_wait for ever", inCall(unix.SYS_EPOLL_WAIT, eintrResult, 1, 2, 3, forever), handler{}, repeat},
		{"epoll_wait for ever in 32 bits", inCall(unix.SYS_EPOLL_WAIT, eintrResult, 1, 2, 3, 0xffffffff), handler{}, repeat},
		{"epoll_wait with a timeout", inCall(unix.SYS_EPOLL_WAIT, eintrResult, 1, 2, 3, 10), handler{}, repeat},
		{"recv with a timeout", inCall(unix.SYS_RECVFROM, eintrResult), handler{}, repeat},
		{"relative futex wait", inCall(unix.SYS_FUTEX, restartBlocked, 1, 128), handler{}, eintr},
		{"absolute futex wait", inCall(unix.SYS_FUTEX, restartBlocked, 1, 137), handler{}, repeat},
		{"absolute futex wait, handler", inCall(unix.SYS_FUTEX, restartBlocked, 1, 137), handler{runs: true}, eintr},
		{"epoll_wait for ever, handler", inCall(unix.SYS_EPOLL_WAIT, eintrResult, 1, 2, 3, forever), handler{runs: true}, asItIs},
		{"epoll_pwait2 for ever", inCall(unix.SYS_EPOLL_PWAIT2, eintrResult, 1, 2, 3, 0), handler{}, repeat},
		{"sigtimedwait for ever", inCall(unix.SYS_RT_SIGTIMEDWAIT, eintrResult, 1, 2, 0), handler{}, repeat},
		{"sigtimedwait with a timeout", inCall(unix.SYS_RT_SIGTIMEDWAIT, eintrResult, 1, 2, 3), handler{}, repeat},
		{"semop", inCall(unix.SYS_SEMOP, eintrResult), handler{}, repeat},
		{"another EINTR", inCall(unix.SYS_CONNECT, eintrResult), handler{}, asItIs},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			regs := *tt.regs
			equal(t, "outcome", resolve(&regs, tt.h), tt.want)
			fold(&regs, tt.h)
			switch tt.want {
			case asItIs:
				equal(t, "registers", regs, *tt.regs)
			case repeat:
				equal(t, "next instruction", regs.PC(), tt.regs.PC()-syscallSize)
				equal(t, "number", regs.Result(), tt.regs.SyscallNumber())
			case eintr:
				equal(t, "next instruction", regs.PC(), tt.regs.PC())
				equal(t, "result", regs.Result(), eintrResult)
			}
			again := regs
			fold(&again, tt.h)
			equal(t, "folded twice", again, regs)
		})
	}
}

func TestPendingHandler(t *testing.T) {
	actions := make([]sigaction, signals)
	actions[unix.SIGUSR1-1] = sigaction{handler: 0x1000}
	actions[unix.SIGUSR2-1] = sigaction{handler: 0x1000, flags: saRestart}
	actions[unix.SIGPIPE-1] = sigaction{handler: sigIgn}
	queue := func(sigs ...unix.Signal) [][128]byte {
		var q [][128]byte
		for _, sig := range sigs {
			q = append(q, [128]byte(signalInfo(sig).Siginfo))
		}
		return q
	}
	tests := []struct {
		name   string
		mask   uint64
		queues [][][128]byte
		want   handler
	}{
		{"nothing", 0, nil, handler{}},
		{"default and ignored", 0, [][][128]byte{queue(unix.SIGTERM, unix.SIGPIPE)}, handler{}},
		{"handler", 0, [][][128]byte{queue(unix.SIGUSR1)}, handler{runs: true}},
		{"blocked", bit(unix.SIGUSR1), [][][128]byte{queue(unix.SIGUSR1)}, handler{}},
		{"lowest first", 0, [][][128]byte{queue(unix.SIGUSR2), queue(unix.SIGUSR1)}, handler{runs: true}},
		{"lowest that is not blocked", bit(unix.SIGUSR1), [][][128]byte{queue(unix.SIGUSR1), queue(unix.SIGUSR2)}, handler{true, true}},
		{"no signal", 0, [][][128]byte{queue(0, 65)}, handler{}},
	}
	for _, tt := range tests {
		equal(t, tt.name, pendingHandler(tt.mask, tt.queues, actions), tt.want)
	}
}

// TestSaveCall keeps what a restore needs to know of a sleep.
func TestSaveCall(t *testing.T) {
	for result, kept := range map[int64]bool{
		restartSys: true, restartNoHand: true, restartNoIntr: true, restartBlocked: true, -int64(unix.EINTR): true,
		0: false, -int64(unix.EAGAIN): false,
	} {
		tc := &criu_core.ThreadCoreEntry{}
		saveCall(tc, inCall(unix.SYS_FUTEX, result), nil)
		c, ok := getCall(tc)
		equal(t, "kept", ok, kept)
		if kept {
			equal(t, "call", c, call{number: unix.SYS_FUTEX, result: result, args: [6]uint64{1, 2, 3, 4}})
		}
	}
	tc := &criu_core.ThreadCoreEntry{}
	saveCall(tc, inCall(-1, restartSys), nil)
	if _, ok := getCall(tc); ok {
		t.Error("a call was kept of a thread that was in none")
	}
}
