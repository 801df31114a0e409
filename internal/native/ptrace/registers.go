// SPDX-License-Identifier: Apache-2.0

package ptrace

import "golang.org/x/sys/unix"

// Registers reads the general registers of a stopped thread.
func (th *Thread) Registers() (Registers, error) {
	var r Registers
	if th.gone {
		return r, th.explain("read the registers of", unix.ESRCH)
	}
	if err := r.read(th.TID); err != nil {
		return Registers{}, th.explain("read the registers of", err)
	}
	return r, nil
}

// SetRegisters writes the general registers of a stopped thread.
//
// In a stop that interrupted a system call the kernel looks at the result and
// the system call's number when the thread runs on, and may repeat the call:
// SetSyscallNumber(-1) prevents that.
func (th *Thread) SetRegisters(r Registers) error {
	if th.gone {
		return th.explain("write the registers of", unix.ESRCH)
	}
	return th.explain("write the registers of", r.write(th.TID))
}

// scratchSize holds the largest extended state of today's processors: AMX makes
// it about 11 KiB.
const scratchSize = 16 << 10

// ExtendedState reads the floating point and vector registers of a stopped
// thread in the kernel's format: on x86-64 the XSAVE area (NT_X86_XSTATE), on
// arm64 NT_PRFPREG. The result is the caller's.
func (th *Thread) ExtendedState() ([]byte, error) {
	const what = "read the extended registers of"
	if th.gone {
		return nil, th.explain(what, unix.ESRCH)
	}
	t := th.tracer
	if t.scratch == nil {
		t.scratch = make([]byte, scratchSize)
	}
	for {
		n, err := requestSet(unix.PTRACE_GETREGSET, th.TID, extendedNote, t.scratch)
		if err != nil {
			return nil, th.explain(what, err)
		}
		if n < len(t.scratch) {
			return append([]byte(nil), t.scratch[:n]...), nil
		}
		// A full buffer may have cut the state.
		t.scratch = make([]byte, 2*len(t.scratch))
	}
}

// SetExtendedState writes what ExtendedState read, from this thread or another
// one on the same kind of processor.
func (th *Thread) SetExtendedState(state []byte) error {
	const what = "write the extended registers of"
	if th.gone {
		return th.explain(what, unix.ESRCH)
	}
	if len(state) == 0 {
		return th.explain(what, unix.EFAULT)
	}
	_, err := requestSet(unix.PTRACE_SETREGSET, th.TID, extendedNote, state)
	return th.explain(what, err)
}
