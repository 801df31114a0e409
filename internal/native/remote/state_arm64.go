// SPDX-License-Identifier: Apache-2.0

package remote

import "github.com/crtime/crtime/internal/native/ptrace"

// This machine never had these calls.
const (
	sysEpollWait = -2
	sysSemop     = -3
)

// syscallSize is the size of the SVC instruction.
const syscallSize = 4

// repeatCall puts the thread before the system call instruction again. The
// first argument, which the result has replaced, is not known here.
func repeatCall(r *ptrace.Registers) { r.SetPC(r.PC() - syscallSize) }

// at makes the thread go on at pc, outside any system call.
func at(r ptrace.Registers, pc, sp uint64) ptrace.Registers {
	r.SetPC(pc)
	r.SetSP(sp)
	r.SetSyscallNumber(-1)
	return r
}

func setTable(*ptrace.Registers, uint64) {}

func narrow(*ptrace.Registers) bool { return false }

// calledBefore is not written for this machine, where the number stays in a
// register of its own anyway.
func calledBefore(int, uint64) (nr int64, ok bool) { return 0, false }
