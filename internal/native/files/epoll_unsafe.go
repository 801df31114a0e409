// SPDX-License-Identifier: Apache-2.0

package files

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kcmpEpollTarget is KCMP_EPOLL_TFD of linux/kcmp.h.
const kcmpEpollTarget = 7

// epollSlot is struct kcmp_epoll_slot: one watch of an epoll instance.
type epollSlot struct {
	epoll  uint32 // The instance's descriptor.
	target uint32 // The number that was added.
	nth    uint32 // Which of those with that number, in the order of fdinfo.
}

// watchesFile reports whether a watch is of the file behind a descriptor of the
// same process. A descriptor that is not open is not watched.
func watchesFile(pid, fd int, slot epollSlot) bool {
	answer, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(pid), kcmpEpollTarget,
		uintptr(fd), uintptr(unsafe.Pointer(&slot)), 0)
	runtime.KeepAlive(&slot)
	return errno == 0 && answer == 0
}
