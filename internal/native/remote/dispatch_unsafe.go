// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Of linux/ptrace.h: PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, since Linux 6.4,
// and what it reads.
const requestDispatch = 0x4211

type dispatchConfig struct {
	mode, selector, offset, length uint64
}

// dispatchesSyscalls says whether the system calls of a stopped thread become
// SIGSYS, some or all. A kernel that does not know the request is taken for no.
func dispatchesSyscalls(tid int) (bool, error) {
	var c dispatchConfig
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, requestDispatch, uintptr(tid), unsafe.Sizeof(c), uintptr(unsafe.Pointer(&c)), 0, 0)
	switch {
	case errno == 0:
		return c.mode != 0, nil
	case errors.Is(errno, unix.ESRCH):
		return false, ptrace.ErrGone
	case errors.Is(errno, unix.EIO), errors.Is(errno, unix.EINVAL):
		return false, nil
	default:
		return false, os.NewSyscallError("ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG)", errno)
	}
}
