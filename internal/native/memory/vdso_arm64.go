// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/crtime/crtime/internal/engine"
)

const machine = elf.EM_AARCH64

// mapVDSO would map the kernel's vdso: arm64 has no call for it, a process has
// to keep the one that it was born with.
func (r *Rebuild) mapVDSO(_ *table, at uint64) (placed, error) {
	return placed{}, fmt.Errorf("map it at %x on arm64: %w; restore with --engine criu", at, engine.ErrUnsupported)
}

// jumpSize is how much code jumpTo makes.
const jumpSize = 16

// jumpTo is: ldr x16, .+8; br x16; the address.
func jumpTo(to uint64) []byte {
	code := []byte{0x50, 0x00, 0x00, 0x58, 0x00, 0x02, 0x1f, 0xd6}
	return binary.LittleEndian.AppendUint64(code, to)
}

// callKernel is: mov x8, #nr; svc #0; ret. The functions of the vdso take their
// arguments as the system calls of the same names do.
func callKernel(nr uint32) []byte {
	code := binary.LittleEndian.AppendUint32(nil, 0xd2800008|nr<<5)
	return append(code, 0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6)
}

// notImplemented is: mov x0, #-ENOSYS; ret.
func notImplemented() []byte {
	return []byte{0xa0, 0x04, 0x80, 0x92, 0xc0, 0x03, 0x5f, 0xd6}
}

// systemCall is the system call that does what a function of the vdso does.
func systemCall(name string) (nr uint32, have bool) {
	switch name {
	case "__kernel_clock_gettime":
		return 113, true
	case "__kernel_clock_getres":
		return 114, true
	case "__kernel_gettimeofday":
		return 169, true
	case "__kernel_rt_sigreturn":
		return 139, true
	case "__kernel_getrandom":
		return 278, true
	default:
		return 0, false
	}
}
