// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawAddress is a struct sockaddr_un with a path or name of exactly the length
// that a program gave, which unix.SockaddrUnix does not keep.
func rawAddress(name []byte) (addr unix.RawSockaddrUnix, size uintptr) {
	addr.Family = unix.AF_UNIX
	n := 0
	for ; n < len(name) && n < len(addr.Path); n++ {
		addr.Path[n] = int8(name[n])
	}
	return addr, unsafe.Offsetof(addr.Path) + uintptr(n)
}

// bindTo binds a socket to a recorded address.
func bindTo(fd int, name []byte) error {
	addr, size := rawAddress(name)
	if _, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&addr)), size); errno != 0 {
		return errno
	}
	return nil
}

// connectTo connects a socket to a recorded address.
func connectTo(fd int, name []byte) error {
	addr, size := rawAddress(name)
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr)), size); errno != 0 {
		return errno
	}
	return nil
}

// filterLength counts the instructions of a socket's filter.
func filterLength(fd int) (int, error) {
	const soGetFilter = unix.SO_ATTACH_FILTER // SO_GET_FILTER is the same number.
	var n uint32                              // In instructions, not bytes.
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, soGetFilter,
		0, uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 && !errors.Is(errno, unix.ENOPROTOOPT) {
		return 0, errno // EACCES: an eBPF program, which cannot be read back.
	}
	return int(n), nil
}
