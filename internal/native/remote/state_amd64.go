// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

const (
	sysEpollWait = unix.SYS_EPOLL_WAIT
	sysSemop     = unix.SYS_SEMOP
)

// syscallSize is the size of the SYSCALL instruction.
const syscallSize = 2

// repeatCall puts the thread before the system call instruction again.
func repeatCall(r *ptrace.Registers) {
	r.SetResult(r.SyscallNumber())
	r.SetPC(r.PC() - syscallSize)
}

// The registers of a thread that runs our code. Its flags are those of a fresh
// thread: only interrupts, which nothing can change.
const freshFlags = 0x202

// at makes the thread go on at pc, outside any system call.
func at(r ptrace.Registers, pc, sp uint64) ptrace.Registers {
	r.SetPC(pc)
	r.SetSP(sp)
	r.SetSyscallNumber(-1)
	r.Eflags = freshFlags
	return r
}

// setTable tells the stub's code where its table is.
func setTable(r *ptrace.Registers, table uint64) { r.R14 = table }

// The segment of 64-bit code (__USER_CS).
const codeSegment64 = 0x33

// narrow says whether the thread runs 32-bit code.
func narrow(r *ptrace.Registers) bool { return r.Cs != codeSegment64 }

// calledBefore reads from the code in front of pc, which is right behind a system
// call instruction, the number of the call: that of the nearest mov to %eax, if it
// is that of a call which restart_syscall goes on with.
func calledBefore(tid int, pc uint64) (nr int64, ok bool) {
	const load = 0xb8 // mov $imm32, %eax
	const size = 5
	// Libraries load the number right before, or a few moves of arguments earlier.
	var code [24]byte
	if readMemory(tid, pc-syscallSize-uint64(len(code)), code[:]) != nil {
		return 0, false
	}
	for i := len(code) - size; i >= 0; i-- {
		if code[i] != load {
			continue
		}
		switch nr := int64(le.Uint32(code[i+1:])); nr {
		case unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_POLL, unix.SYS_FUTEX:
			return nr, true
		}
	}
	return 0, false
}
