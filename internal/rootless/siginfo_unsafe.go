// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// childOf is si_pid of a siginfo of SIGCHLD: the first field after the three that all
// have, aligned as a pointer is.
func childOf(info *unix.Siginfo) int {
	const at = 12 + unsafe.Sizeof(uintptr(0)) - 4
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), at)))
}
