// SPDX-License-Identifier: Apache-2.0

package files

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// tfdIOCSetTicks is TFD_IOC_SET_TICKS of linux/timerfd.h: _IOW('T', 0, __u64).
const tfdIOCSetTicks = 0x40085400

// setTicks sets how often a timer counts as having expired since it was last
// read. It needs a kernel with CONFIG_CHECKPOINT_RESTORE.
func setTicks(fd int, n uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), tfdIOCSetTicks, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return errno
	}
	return nil
}
