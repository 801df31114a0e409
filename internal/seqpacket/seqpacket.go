// SPDX-License-Identifier: Apache-2.0

// Package seqpacket sends and receives the packets of a UNIX socket of type
// SOCK_SEQPACKET, which is what CRIU's RPC runs on: each message is one packet, of any
// size, and descriptors may come with it.
package seqpacket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limit is the largest packet that is received, in bytes. CRIU has no limit of its
// own; its clients' longest messages, with a name for each of some hundred mounts, are
// some ten KiB.
const Limit = 1 << 20

// mostFiles is how many descriptors the kernel lets come with a packet (SCM_MAX_FD).
const mostFiles = 253

var (
	// ErrClosed says that the other end has closed the socket.
	ErrClosed = errors.New("the other end has closed the connection")
	// ErrTooLarge says that a packet was larger than Limit. It is gone.
	ErrTooLarge = fmt.Errorf("the message has more than %d bytes", Limit)
)

// Conn is one end of a connection. One goroutine may send while another receives.
type Conn struct{ unix *net.UnixConn }

// Packet is what came at once.
type Packet struct {
	Data  []byte
	Files []*os.File // Close-on-exec. The receiver closes them.
}

// CloseFiles closes the files that came with the packet.
func (p *Packet) CloseFiles() {
	for _, f := range p.Files {
		f.Close() // They are duplicates.
	}
}

// New makes a Conn of a connected socket, and takes it over: it is closed even if New
// fails. The error says if it is not of this kind.
func New(socket *os.File) (*Conn, error) {
	defer socket.Close()
	if kind, err := unix.GetsockoptInt(int(socket.Fd()), unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("%s is not a socket that keeps messages apart (SOCK_SEQPACKET): %w", socket.Name(), errors.Join(err, unix.EPROTOTYPE))
	}
	conn, err := net.FileConn(socket)
	if err != nil {
		return nil, fmt.Errorf("use the socket %s: %w", socket.Name(), err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is a %s socket, not a UNIX one", socket.Name(), conn.LocalAddr().Network()), conn.Close())
	}
	return &Conn{unix: u}, nil
}

// Pair makes a connection of this process with another that it will start, or with
// itself. The caller closes both ends.
func Pair() (ours *Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "the other end")
	if ours, err = New(os.NewFile(uintptr(fds[0]), "this end")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// Close closes this end.
func (c *Conn) Close() error { return c.unix.Close() }

// Duplicate returns another descriptor of the socket, for poll.
func (c *Conn) Duplicate() (*os.File, error) {
	raw, err := c.unix.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup int
	var failed error
	if err := raw.Control(func(fd uintptr) { dup, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, fmt.Errorf("duplicate a socket: %w", failed)
	}
	return os.NewFile(uintptr(dup), "socket"), nil
}

// SetDeadline bounds all sending and receiving from now on; the zero time ends that.
// What is not done by then fails with os.ErrDeadlineExceeded.
func (c *Conn) SetDeadline(t time.Time) error { return c.unix.SetDeadline(t) }

// Send sends one packet. It waits while the other end has not taken earlier ones.
func (c *Conn) Send(data []byte, files []*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.unix.WriteMsgUnix(data, rights, nil)
	return err
}

// Receive waits for one packet. The error is ErrClosed when there will be none, or
// ErrTooLarge.
func (c *Conn) Receive() (*Packet, error) {
	size, err := c.peek()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(size, Limit)+1)
	rights := make([]byte, unix.CmsgSpace(4*mostFiles))
	n, oob, flags, _, err := c.unix.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, ended(err)
	}
	p := &Packet{Data: data[:n]}
	if p.Files, err = files(rights[:oob]); err != nil {
		return nil, err
	}
	switch {
	case size > Limit || flags&unix.MSG_TRUNC != 0:
		p.CloseFiles()
		return nil, ErrTooLarge
	case flags&unix.MSG_CTRUNC != 0:
		p.CloseFiles()
		return nil, errors.New("descriptors that came with the message could not be taken: too many are open")
	case n == 0 && len(p.Files) == 0:
		return nil, ErrClosed
	}
	return p, nil
}

// peek waits for a packet and returns its size.
func (c *Conn) peek() (int, error) {
	raw, err := c.unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var size int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			size, _, failed = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			if !errors.Is(failed, unix.EINTR) {
				return !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err != nil {
		return 0, ended(err)
	}
	if failed != nil {
		return 0, ended(failed)
	}
	return size, nil
}

// ended makes ErrClosed of the ways in which a connection ends.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return ErrClosed
	}
	return err
}

// files takes the descriptors out of a control message.
func files(rights []byte) ([]*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("descriptors of a message: %w", err)
	}
	var all []*os.File
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return all, fmt.Errorf("descriptors of a message: %w", err)
		}
		for _, fd := range fds {
			all = append(all, os.NewFile(uintptr(fd), "received"))
		}
	}
	return all, nil
}
