// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// robustList asks where a thread keeps its list of robust futexes, and for the
// size of that list's head; zero if it has none.
func robustList(tid int) (head, size uint64, err error) {
	_, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid),
		uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, 0, fmt.Errorf("robust futexes of thread %d: %w", tid, errno)
	}
	return head, size, nil
}

// prctlGet makes a prctl(2) call that answers through a pointer.
func prctlGet(option int, into *int32) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PRCTL, uintptr(option), uintptr(unsafe.Pointer(into)), 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// askOwn asks a question about the calling thread.
func askOwn(q question) (result, memory uint64, err error) {
	args := [3]uintptr{uintptr(q.args[0]), uintptr(q.args[1]), uintptr(q.args[2])}
	var errno unix.Errno
	var r uintptr
	if q.into == 1 {
		r, _, errno = unix.Syscall6(q.nr, args[0], uintptr(unsafe.Pointer(&memory)), args[2], 0, 0, 0)
	} else {
		r, _, errno = unix.Syscall6(q.nr, args[0], args[1], args[2], 0, 0, 0)
	}
	if errno != 0 {
		return 0, 0, errno
	}
	return uint64(r), memory, nil
}

// kcmpSysVSem is KCMP_SYSVSEM of the kernel's uapi/linux/kcmp.h.
const kcmpSysVSem = 6

// sharesUndo reports whether two processes have the same list of adjustments to
// System V semaphores (SEM_UNDO). That neither has one counts as the same.
func sharesUndo(a, b int) (bool, error) {
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpSysVSem, 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return order == 0, nil
}

// coreCookie asks for the mark of the threads with which a thread shares a CPU core
// (PR_SCHED_CORE); 0: it shares them with everybody.
func coreCookie(tid int) (cookie uint64, err error) {
	if _, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_GET, uintptr(tid),
		unix.PR_SCHED_CORE_SCOPE_THREAD, uintptr(unsafe.Pointer(&cookie)), 0); errno != 0 {
		return 0, errno
	}
	return cookie, nil
}
