// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setTicks sets how often a timer has expired since it was last read, which needs a kernel
// with CONFIG_CHECKPOINT_RESTORE, as CRIU does.
func setTicks(timer int, n uint64) error {
	const tfdIOCSetTicks = 0x40085400 // TFD_IOC_SET_TICKS of linux/timerfd.h: _IOW('T', 0, __u64).
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(timer), tfdIOCSetTicks, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return os.NewSyscallError("ioctl TFD_IOC_SET_TICKS", errno)
	}
	return nil
}
