// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests and flags of linux/userfaultfd.h. The numbers hold the sizes of the
// structures below and are the same on all machines that crtime is built for.
const (
	uffdAPI          = 0xaa
	uffdioAPI        = 0xc018aa3f // _IOWR(UFFDIO, 0x3f, struct uffdio_api)
	uffdioRegister   = 0xc020aa00 // _IOWR(UFFDIO, 0x00, struct uffdio_register)
	uffdioCopy       = 0xc028aa03 // _IOWR(UFFDIO, 0x03, struct uffdio_copy)
	registerMissing  = 1 << 0     // UFFDIO_REGISTER_MODE_MISSING
	copyWithoutWaker = 1 << 0     // UFFDIO_COPY_MODE_DONTWAKE: nobody waits.
)

type uffdioAPIArg struct{ api, features, ioctls uint64 }

type uffdioRegisterArg struct{ start, size, mode, ioctls uint64 }

type uffdioCopyArg struct {
	dst, src, size, mode uint64
	copied               int64 // Bytes, or a negative errno.
}

// enableFaults is the handshake that comes first.
func enableFaults(fd int) error {
	arg := uffdioAPIArg{api: uffdAPI}
	return ioctl(fd, uffdioAPI, unsafe.Pointer(&arg))
}

// registerFaults makes missing pages of a range the descriptor's business.
func registerFaults(fd int, s span) error {
	arg := uffdioRegisterArg{start: s.start, size: s.size(), mode: registerMissing}
	return ioctl(fd, uffdioRegister, unsafe.Pointer(&arg))
}

// copyPages puts pages into missing places from addr on. It may do a part only,
// and then says how many bytes beside the error.
func copyPages(fd int, addr uint64, b []byte) (int, error) {
	arg := uffdioCopyArg{
		dst:  addr,
		src:  uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))),
		size: uint64(len(b)),
		mode: copyWithoutWaker,
	}
	err := ioctl(fd, uffdioCopy, unsafe.Pointer(&arg))
	runtime.KeepAlive(b)
	return int(max(arg.copied, 0)), err
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// addressOf is where a mapping of crtime's own lies.
func addressOf(m []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m)))) }
