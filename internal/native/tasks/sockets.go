// SPDX-License-Identifier: Apache-2.0

package tasks

import "golang.org/x/sys/unix"

// waitsForSocket says whether a call waits for a socket, with the time limit of that
// (SO_RCVTIMEO, SO_SNDTIMEO), and for what, as poll names it.
func waitsForSocket(nr int64) (events int16, ok bool) {
	switch nr {
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_READ, unix.SYS_READV, unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		return unix.POLLIN, true
	case unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_WRITE, unix.SYS_WRITEV:
		return unix.POLLOUT, true
	default:
		return 0, false
	}
}

// MayWaitForSocket reports whether a call with this number, whose first argument is a
// descriptor, has the time limit of that if it is a socket.
func MayWaitForSocket(nr int64) bool {
	_, ok := waitsForSocket(nr)
	return ok
}
