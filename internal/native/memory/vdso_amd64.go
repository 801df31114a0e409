// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const machine = elf.EM_X86_64

// archMapVDSO64 is ARCH_MAP_VDSO_64 of asm/prctl.h.
const archMapVDSO64 = 0x2003

// mapVDSO adds the call by which the kernel maps its vdso, the data first.
func (r *Rebuild) mapVDSO(t *table, at uint64) (placed, error) {
	t.add(must(fmt.Sprintf("arch_prctl(ARCH_MAP_VDSO_64, %x)", at), unix.SYS_ARCH_PRCTL, archMapVDSO64, at))
	return placed{at + r.host.before}, nil
}

// jumpSize is how much code jumpTo makes.
const jumpSize = 12

// jumpTo is: movabs $to, %rax; jmp *%rax. A function may change rax.
func jumpTo(to uint64) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte{0x48, 0xb8}, to), 0xff, 0xe0)
}

// callKernel is: mov $nr, %eax; syscall; ret. The functions of the vdso take
// their arguments as the system calls of the same names do.
func callKernel(nr uint32) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0xb8}, nr), 0x0f, 0x05, 0xc3)
}

// notImplemented is: mov $-ENOSYS, %rax; ret.
func notImplemented() []byte {
	minus := -int32(unix.ENOSYS)
	return append(binary.LittleEndian.AppendUint32([]byte{0x48, 0xc7, 0xc0}, uint32(minus)), 0xc3)
}

// systemCall is the system call that does what a function of the vdso does.
func systemCall(name string) (nr uint32, have bool) {
	switch name {
	case "__vdso_clock_gettime", "clock_gettime":
		return unix.SYS_CLOCK_GETTIME, true
	case "__vdso_clock_getres", "clock_getres":
		return unix.SYS_CLOCK_GETRES, true
	case "__vdso_gettimeofday", "gettimeofday":
		return unix.SYS_GETTIMEOFDAY, true
	case "__vdso_time", "time":
		return unix.SYS_TIME, true
	case "__vdso_getcpu", "getcpu":
		return unix.SYS_GETCPU, true
	case "__vdso_getrandom", "getrandom":
		return unix.SYS_GETRANDOM, true
	default:
		return 0, false
	}
}
