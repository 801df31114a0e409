// SPDX-License-Identifier: Apache-2.0

package numa

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// get makes a get_mempolicy(2) call about the calling thread.
func get(flags uintptr) (mode uint32, nodes Nodes, err error) {
	if _, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&nodes)),
		Bits, 0, flags, 0); errno != 0 {
		return 0, nodes, errno
	}
	return mode, nodes, nil
}
