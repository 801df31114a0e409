// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// tryClock makes a timer on a clock in crtime itself, which nobody hears of, and
// deletes it. The error is the kernel's.
func tryClock(clock clockID) error {
	event := posix{notify: notifyNone}.encodeEvent()
	var id int32
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, uintptr(clock),
		uintptr(unsafe.Pointer(unsafe.SliceData(event))), uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return errno
	}
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// canChooseIDs reports whether this kernel lets a process choose the numbers of
// its timers. Linux 6.15 does.
func canChooseIDs() bool {
	return unix.Prctl(restoreIDs, restoreIDsGet, 0, 0, 0) == nil
}
