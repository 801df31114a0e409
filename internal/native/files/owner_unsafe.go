// SPDX-License-Identifier: Apache-2.0

package files

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fOwnerEx is struct f_owner_ex of fcntl(2).
type fOwnerEx struct {
	kind int32
	pid  int32
}

// fGetOwnerUIDs is F_GETOWNER_UIDS: the real and effective user who set the
// owner. x/sys/unix does not have it.
const fGetOwnerUIDs = 17

// getOwnerEx is F_GETOWN_EX.
func getOwnerEx(fd int) (owner fOwnerEx, err error) {
	err = fcntlPointer(fd, unix.F_GETOWN_EX, unsafe.Pointer(&owner))
	return owner, err
}

// setOwnerEx is F_SETOWN_EX.
func setOwnerEx(fd int, owner fOwnerEx) error {
	return fcntlPointer(fd, unix.F_SETOWN_EX, unsafe.Pointer(&owner))
}

// ownerUIDs is F_GETOWNER_UIDS.
func ownerUIDs(fd int) (uids [2]uint32, err error) {
	err = fcntlPointer(fd, fGetOwnerUIDs, unsafe.Pointer(&uids))
	return uids, err
}

// fcntlPointer is fcntl with a pointer to what the command reads or fills.
func fcntlPointer(fd int, command uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), command, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
