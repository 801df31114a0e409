// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"unsafe" //nolint:depguard // The name of a test file cannot end in _unsafe.

	"golang.org/x/sys/unix"
)

// sigqueue is sigqueue(3).
func sigqueue(pid int, sig unix.Signal, value int) error {
	var info SigInfo
	binary.NativeEndian.PutUint32(info[0:], uint32(sig))
	code := int32(-1) // SI_QUEUE
	binary.NativeEndian.PutUint32(info[8:], uint32(code))
	binary.NativeEndian.PutUint32(info[16:], uint32(unix.Getpid()))
	binary.NativeEndian.PutUint32(info[20:], uint32(unix.Getuid()))
	binary.NativeEndian.PutUint64(info[24:], uint64(value))
	_, _, errno := unix.Syscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(sig), uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return errno
	}
	return nil
}
