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
	// pidfd is the process itself, so that another one that gets its number is not taken
	// for it. It stays open as long as the session.
	pidfd *os.File
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
	pidfd, err := unix.GetsockoptInt(int(socket.Fd()), unix.SOL_SOCKET, soPeerPIDFD)
	if err != nil {
		// A kernel before 6.5. It is as early as can be.
		pidfd, err = unix.PidfdOpen(int(cred.Pid), 0)
	}
	if err != nil {
		return peer{}, fmt.Errorf("reach client %d: %w", cred.Pid, err)
	}
	unix.CloseOnExec(pidfd)
	return peer{pid: int(cred.Pid), uid: cred.Uid, pidfd: os.NewFile(uintptr(pidfd), "the client")}, nil
}

// soPeerPIDFD is SO_PEERPIDFD of the kernel's include/uapi/asm-generic/socket.h.
const soPeerPIDFD = 77

// close gives up the hold on the process.
func (p peer) close() { p.pidfd.Close() }

// alive says whether what was just seen of the number was of this process.
func (p peer) alive() error {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd.Fd()), Events: unix.POLLIN}}, 0)
	if err == nil && n > 0 {
		err = unix.ESRCH
	}
	if err != nil {
		return fmt.Errorf("client %d: %w", p.pid, err)
	}
	return nil
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
	f := os.NewFile(uintptr(own), what)
	if err := p.alive(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// take duplicates a descriptor of the client, of whatever kind.
func (p peer) take(fd int32, what string) (*os.File, error) {
	own, err := unix.PidfdGetfd(int(p.pidfd.Fd()), int(fd), 0)
	if err != nil {
		return nil, badRequest("take %s, which is said to be descriptor %d of client %d: %w", what, fd, p.pid, err)
	}
	return os.NewFile(uintptr(own), what), nil
}
