// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a socket: the one that made the socket pair,
// or that connected.
type peer struct {
	pid int
	uid uint32
}

// peerOf asks the kernel who it is.
func peerOf(socket *os.File) (peer, error) {
	cred, err := unix.GetsockoptUcred(int(socket.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, fmt.Errorf("ask who the client is: %w", err)
	}
	if cred.Pid == 0 {
		return peer{}, errors.New("the client lives in a pid namespace that cannot be seen from here, and its descriptors cannot be reached: run crtime in the client's pid namespace, or above it")
	}
	return peer{pid: int(cred.Pid), uid: cred.Uid}, nil
}

// openDir opens a directory that the client has open.
func (p peer) openDir(fd int32, what string) (*os.File, error) {
	return p.open(fd, what, unix.O_RDONLY|unix.O_DIRECTORY)
}

// open opens anew what the client has open; it must not be a socket.
func (p peer) open(fd int32, what string, flags int) (*os.File, error) {
	if fd < 0 {
		return nil, badRequest("%s is descriptor %d", what, fd)
	}
	own, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, badRequest("open %s, which is said to be descriptor %d of client %d: %w", what, fd, p.pid, err)
	}
	return os.NewFile(uintptr(own), what), nil
}

// take duplicates a descriptor of the client, of whatever kind.
func (p peer) take(fd int32, what string) (*os.File, error) {
	pidfd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return nil, fmt.Errorf("reach client %d: %w", p.pid, err)
	}
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, int(fd), 0)
	if err != nil {
		return nil, badRequest("take %s, which is said to be descriptor %d of client %d: %w", what, fd, p.pid, err)
	}
	return os.NewFile(uintptr(own), what), nil
}
