// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The parts of linux/unix_diag.h and linux/sock_diag.h that are used here.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY

	unixDiagRequestSize = 24 // struct unix_diag_req
	unixDiagMessageSize = 16 // struct unix_diag_msg

	showName  = 0x01 // UDIAG_SHOW_NAME
	showVFS   = 0x02 // UDIAG_SHOW_VFS
	showPeer  = 0x04 // UDIAG_SHOW_PEER
	showIcons = 0x08 // UDIAG_SHOW_ICONS
	showQueue = 0x10 // UDIAG_SHOW_RQLEN

	attrName     = 0 // UNIX_DIAG_NAME
	attrVFS      = 1 // UNIX_DIAG_VFS
	attrPeer     = 2 // UNIX_DIAG_PEER
	attrIcons    = 3 // UNIX_DIAG_ICONS
	attrQueue    = 4 // UNIX_DIAG_RQLEN
	attrShutdown = 6 // UNIX_DIAG_SHUTDOWN

	// attrTypeMask takes the flags (nested, byte order) off an attribute's type.
	attrTypeMask = 0x3fff
)

// States of a unix socket, as the kernel and the images number them.
const (
	stateEstablished = 1  // TCP_ESTABLISHED
	stateClose       = 7  // TCP_CLOSE
	stateListen      = 10 // TCP_LISTEN
)

// errNotUnix means that no unix socket of this network namespace has the inode.
var errNotUnix = errors.New("there is no such unix socket in this network namespace")

// unixSocket is what the kernel's socket monitoring tells of one unix socket.
type unixSocket struct {
	ino   uint32
	kind  uint8 // unix.SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
	state uint8
	// name is the address as it was given to bind: a path, often with a final
	// zero byte, or an abstract name that begins with one. Empty: not bound.
	name []byte
	// bound says that fileDev and fileIno name the socket's file. The device is
	// in the kernel's own encoding.
	bound   bool
	fileDev uint32
	fileIno uint32
	// peer is the inode of the connected socket. It is 0 when there is none,
	// when it was closed, and while it waits to be accepted.
	peer uint32
	// waiting are the inodes of the clients that a listening socket has not yet
	// accepted, in order; 0 for one that was closed again.
	waiting []uint32
	// received counts the bytes in the receive queue; for datagrams, of the
	// first alone; for a listening socket, the connections that wait.
	received uint32
	// sent counts the bytes that the peer has not read (with the kernel's own
	// overhead); for a listening socket it is the backlog.
	sent     uint32
	shutdown uint8 // 1: no more reads, 2: no more writes.
}

// unixSockets asks for all unix sockets of crtime's network namespace, by inode.
func unixSockets() (map[uint32]*unixSocket, error) {
	// A dump that was interrupted by a change may lack entries; it is repeated.
	for range 10 {
		sockets, whole, err := queryUnix()
		if err != nil {
			return nil, err
		}
		if whole {
			return sockets, nil
		}
	}
	return nil, errors.New("list the unix sockets: the list changed all the time; try again")
}

// queryUnix asks for all sockets. whole is false if the kernel says that the list
// changed while it was made.
func queryUnix() (sockets map[uint32]*unixSocket, whole bool, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, false, fmt.Errorf("open the kernel's socket monitor (NETLINK_SOCK_DIAG): %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request := unixDiagRequest()
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, false, fmt.Errorf("ask for unix sockets (is the module unix_diag there?): %w", err)
	}
	l := unixListing{sockets: map[uint32]*unixSocket{}, whole: true}
	buf := make([]byte, 64<<10)
	for !l.done {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the list of unix sockets: %w", err)
		}
		if err := l.add(buf[:n]); err != nil {
			return nil, false, fmt.Errorf("read the list of unix sockets: %w", err)
		}
	}
	return l.sockets, l.whole, nil
}

// unixDiagRequest encodes the question.
func unixDiagRequest() []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+unixDiagRequestSize)
	ne := binary.NativeEndian
	ne.PutUint32(b[0:], uint32(len(b)))
	ne.PutUint16(b[4:], sockDiagByFamily)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := b[unix.NLMSG_HDRLEN:]
	body[0] = unix.AF_UNIX
	ne.PutUint32(body[4:], ^uint32(0)) // States: all.
	ne.PutUint32(body[12:], showName|showVFS|showPeer|showIcons|showQueue)
	ne.PutUint64(body[16:], ^uint64(0)) // Cookie: any.
	return b
}

// unixListing gathers the answers.
type unixListing struct {
	sockets map[uint32]*unixSocket
	done    bool // The last message was seen.
	whole   bool // Nothing changed meanwhile.
}

// add takes one datagram of netlink messages.
func (l *unixListing) add(b []byte) error {
	ne := binary.NativeEndian
	for len(b) >= unix.NLMSG_HDRLEN {
		size := ne.Uint32(b)
		if size < unix.NLMSG_HDRLEN || uint64(size) > uint64(len(b)) {
			return fmt.Errorf("a message of %d bytes in a packet of %d", size, len(b))
		}
		body := b[unix.NLMSG_HDRLEN:size]
		if ne.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0 {
			l.whole = false
		}
		switch ne.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			l.done = true
			return nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return errors.New("an error message without an error number")
			}
			if errno := int32(ne.Uint32(body)); errno != 0 {
				return unix.Errno(-errno)
			}
		case sockDiagByFamily:
			s, err := parseUnixSocket(body)
			if err != nil {
				return err
			}
			l.sockets[s.ino] = s
		}
		b = b[min(align4(int(size)), len(b)):]
	}
	return nil
}

// parseUnixSocket parses one answer: struct unix_diag_msg and its attributes.
func parseUnixSocket(b []byte) (*unixSocket, error) {
	if len(b) < unixDiagMessageSize {
		return nil, fmt.Errorf("an answer of %d bytes, less than %d", len(b), unixDiagMessageSize)
	}
	ne := binary.NativeEndian
	if b[0] != unix.AF_UNIX {
		return nil, fmt.Errorf("an answer for socket family %d", b[0])
	}
	s := &unixSocket{kind: b[1], state: b[2], ino: ne.Uint32(b[4:])}
	for b = b[unixDiagMessageSize:]; len(b) >= unix.SizeofRtAttr; {
		size := int(ne.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return nil, fmt.Errorf("socket %d: an attribute of %d bytes in %d", s.ino, size, len(b))
		}
		if err := s.attribute(ne.Uint16(b[2:])&attrTypeMask, b[unix.SizeofRtAttr:size]); err != nil {
			return nil, fmt.Errorf("socket %d: %w", s.ino, err)
		}
		b = b[min(align4(size), len(b)):]
	}
	return s, nil
}

// attribute takes one attribute of an answer.
func (s *unixSocket) attribute(kind uint16, value []byte) error {
	ne := binary.NativeEndian
	need := map[uint16]int{attrVFS: 8, attrPeer: 4, attrQueue: 8, attrShutdown: 1}[kind]
	if len(value) < need {
		return fmt.Errorf("attribute %d has %d bytes, less than %d", kind, len(value), need)
	}
	switch kind {
	case attrName:
		s.name = append([]byte(nil), value...)
	case attrVFS:
		s.bound = true
		s.fileIno, s.fileDev = ne.Uint32(value), ne.Uint32(value[4:])
	case attrPeer:
		s.peer = ne.Uint32(value)
	case attrIcons:
		for ; len(value) >= 4; value = value[4:] {
			s.waiting = append(s.waiting, ne.Uint32(value))
		}
	case attrQueue:
		s.received, s.sent = ne.Uint32(value), ne.Uint32(value[4:])
	case attrShutdown:
		s.shutdown = value[0]
	}
	return nil
}

// align4 rounds up to netlink's alignment.
func align4(n int) int { return (n + 3) &^ 3 }
