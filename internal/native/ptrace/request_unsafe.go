// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request makes a ptrace(2) request whose arguments are plain numbers.
func request(req, tid int, addr, data uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// requestData makes a ptrace(2) request whose data argument points to buf, which
// must not be empty.
func requestData(req, tid int, addr uintptr, buf []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), addr, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// requestSet makes PTRACE_GETREGSET or PTRACE_SETREGSET for the register set
// note with buf, which must not be empty. The result is how many bytes the
// kernel has used.
func requestSet(req, tid, note int, buf []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(buf)}
	iov.SetLen(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), uintptr(note), uintptr(unsafe.Pointer(&iov)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(iov.Len), nil
}

// requestPending makes PTRACE_PEEKSIGINFO: it fills infos from the queue's entry
// first on and returns how many there were.
func requestPending(tid int, first uint64, flags uint32, infos [][128]byte) (int, error) {
	// struct __ptrace_peeksiginfo_args of linux/ptrace.h.
	args := struct {
		off   uint64
		flags uint32
		nr    int32
	}{first, flags, int32(len(infos))}
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(tid), uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(unsafe.SliceData(infos))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// kernelHasRSeq reports whether this kernel has restartable sequences at all.
// A registration of nothing is refused with another error than ENOSYS.
func kernelHasRSeq() bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_RSEQ, 0, 0, 0, 0, 0, 0)
	return !errors.Is(errno, unix.ENOSYS)
}
