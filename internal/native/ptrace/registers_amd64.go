// SPDX-License-Identifier: Apache-2.0

package ptrace

import "golang.org/x/sys/unix"

// extendedNote is the register set of ExtendedState.
const extendedNote = unix.NT_X86_XSTATE

// Registers are the general registers of a thread. The fields are the
// machine's; the methods are the same on every machine.
type Registers struct {
	unix.PtraceRegs
}

func (r *Registers) read(tid int) error  { return unix.PtraceGetRegs(tid, &r.PtraceRegs) }
func (r *Registers) write(tid int) error { return unix.PtraceSetRegs(tid, &r.PtraceRegs) }

// PC is the address of the next instruction.
func (r *Registers) PC() uint64 { return r.Rip }

// SetPC sets the address of the next instruction.
func (r *Registers) SetPC(addr uint64) { r.Rip = addr }

// SP is the stack pointer.
func (r *Registers) SP() uint64 { return r.Rsp }

// SetSP sets the stack pointer.
func (r *Registers) SetSP(addr uint64) { r.Rsp = addr }

// SyscallNumber is the system call that the thread is in, or -1. It is what the
// kernel noted at the entry, not what a later one would use (SetCall).
func (r *Registers) SyscallNumber() int64 { return int64(r.Orig_rax) }

// SetSyscallNumber sets what SyscallNumber reads; -1 says that the thread is in
// none, so that the kernel repeats none.
func (r *Registers) SetSyscallNumber(nr int64) { r.Orig_rax = uint64(nr) }

// Result is the value of the register in which a system call returns its
// result, a negative errno on failure.
func (r *Registers) Result() int64 { return int64(r.Rax) }

// SetResult sets the register of Result.
func (r *Registers) SetResult(v int64) { r.Rax = uint64(v) }

// SetCall sets number and arguments for a system call instruction at PC.
func (r *Registers) SetCall(nr uint64, args [6]uint64) {
	r.Rax = nr
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
}

// SetArg sets argument i of a system call, which counts from 0.
func (r *Registers) SetArg(i int, v uint64) {
	*[]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[i] = v
}

// Args are the arguments of the system call that the thread is in.
func (r *Registers) Args() [6]uint64 {
	return [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
}
