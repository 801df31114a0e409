// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// extendedNote is the register set of ExtendedState.
const extendedNote = unix.NT_PRFPREG

// syscallNote is the register set that holds the number of the system call
// that a thread is in, an int32 (NT_ARM_SYSTEM_CALL of linux/elf.h).
const syscallNote = 0x404

// Registers are the general registers of a thread. The fields are the
// machine's; the methods are the same on every machine.
type Registers struct {
	unix.PtraceRegs
	Syscall int32 // The system call that the thread is in; -1: none.
}

func (r *Registers) read(tid int) error {
	if err := unix.PtraceGetRegs(tid, &r.PtraceRegs); err != nil {
		return err
	}
	var nr [4]byte
	if _, err := requestSet(unix.PTRACE_GETREGSET, tid, syscallNote, nr[:]); err != nil {
		return err
	}
	r.Syscall = int32(binary.LittleEndian.Uint32(nr[:]))
	return nil
}

func (r *Registers) write(tid int) error {
	if err := unix.PtraceSetRegs(tid, &r.PtraceRegs); err != nil {
		return err
	}
	var nr [4]byte
	binary.LittleEndian.PutUint32(nr[:], uint32(r.Syscall))
	_, err := requestSet(unix.PTRACE_SETREGSET, tid, syscallNote, nr[:])
	return err
}

// PC is the address of the next instruction.
func (r *Registers) PC() uint64 { return r.Pc }

// SetPC sets the address of the next instruction.
func (r *Registers) SetPC(addr uint64) { r.Pc = addr }

// SP is the stack pointer.
func (r *Registers) SP() uint64 { return r.Sp }

// SetSP sets the stack pointer.
func (r *Registers) SetSP(addr uint64) { r.Sp = addr }

// SyscallNumber is the system call that the thread is in, or -1. It is what the
// kernel noted at the entry, not what a later one would use (SetCall).
func (r *Registers) SyscallNumber() int64 { return int64(r.Syscall) }

// SetSyscallNumber sets what SyscallNumber reads; -1 says that the thread is in
// none, so that the kernel repeats none.
func (r *Registers) SetSyscallNumber(nr int64) { r.Syscall = int32(nr) }

// Result is the value of the register in which a system call returns its
// result, a negative errno on failure.
func (r *Registers) Result() int64 { return int64(r.Regs[0]) }

// SetResult sets the register of Result.
func (r *Registers) SetResult(v int64) { r.Regs[0] = uint64(v) }

// SetCall sets number and arguments for a system call instruction at PC.
func (r *Registers) SetCall(nr uint64, args [6]uint64) {
	r.Regs[8] = nr
	copy(r.Regs[:6], args[:])
}

// SetArg sets argument i of a system call, which counts from 0.
func (r *Registers) SetArg(i int, v uint64) { r.Regs[i] = v }

// Args are the arguments of the system call that the thread is in. After the
// call the first is its result.
func (r *Registers) Args() [6]uint64 { return [6]uint64(r.Regs[:6]) }
