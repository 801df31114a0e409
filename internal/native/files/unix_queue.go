// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"

	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// message is one that waits in a receive queue. A stream's bytes are one.
type message struct {
	data []byte
	from string // The sender's address as addressText has it; "": none.
}

// queuedFrom is a datagram that tells its sender's address, which the images
// have no place for: at a restore it comes from whoever sends it again.
type queuedFrom struct {
	ino  uint32
	from string
}

// queue saves what waits to be received.
func (u *unixDump) queue(c *Collection, fd int, s *unixSocket) error {
	messages, err := peekQueue(fd, s)
	if err != nil {
		return err
	}
	for _, m := range messages {
		c.set.SocketQueue = append(c.set.SocketQueue, &criuimg.Packet{
			Entry: &sk_packet.SkPacketEntry{IdFor: proto.Uint32(c.lastID), Length: proto.Uint32(uint32(len(m.data)))},
			Data:  m.data,
		})
		if s.kind == unix.SOCK_DGRAM {
			u.senders = append(u.senders, queuedFrom{ino: s.ino, from: m.from})
		}
	}
	return nil
}

// finish refuses datagrams that would tell another sender after a restore.
func (unixKind) finish(c *Collection) error {
	u := noteOf[unixDump](c.notes)
	if len(u.senders) == 0 {
		return nil
	}
	sender := map[uint32]string{} // By the receiver's inode.
	for _, e := range c.set.Files {
		if s := e.GetUsk(); s != nil && s.GetPeer() != 0 {
			if _, ok := sender[s.GetPeer()]; !ok {
				sender[s.GetPeer()] = addressText(s.GetName())
			}
		}
	}
	for _, m := range u.senders {
		if m.from != sender[m.ino] {
			return fmt.Errorf("socket %d has an unread datagram from %q, whose sender cannot be restored: try again when the program has read it: %w",
				m.ino, m.from, ErrObstacle)
		}
	}
	return nil
}

// peekQueue reads what waits to be received, and leaves it there.
func peekQueue(fd int, s *unixSocket) ([]message, error) {
	if s.kind == unix.SOCK_STREAM {
		if s.received == 0 {
			return nil, nil
		}
		return peekStream(fd, int(s.received))
	}
	waiting := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(waiting, 0); err != nil {
		return nil, fmt.Errorf("ask whether something waits in its queue: %w", err)
	}
	if waiting[0].Revents&unix.POLLIN == 0 {
		return nil, nil
	}
	list, err := peekMessages(fd, s)
	const anyEnd = unix.POLLHUP | unix.POLLRDHUP
	if err == nil && len(list) == 0 && s.kind == unix.SOCK_DGRAM && waiting[0].Revents&anyEnd == 0 {
		return nil, fmt.Errorf("an empty message waits in its queue, which was looked at before: try again when the program has read it: %w", ErrObstacle)
	}
	return list, err
}

// peekStream reads the n bytes in the queue of a stream.
func peekStream(fd, n int) ([]message, error) {
	data := make([]byte, n+1)
	m, _, err := peek(fd, data)
	if err != nil {
		return nil, err
	}
	if len(m.data) != n {
		// Urgent data, or a descriptor that was sent, ends a read early.
		return nil, fmt.Errorf("%d bytes wait in its queue, of which %d can be read at once: try again when the program has read them: %w",
			n, len(m.data), ErrObstacle)
	}
	return []message{m}, nil
}

// peekMessages reads each message of a queue. An empty one that was looked at
// before, by its owner or for an earlier dump, is not seen (the kernel's
// __skb_try_recv_from_queue), and lost at a restore.
//
// To get past the first the socket must be told to remember how far it was read
// (SO_PEEK_OFF), which its owner could see if crtime were killed in just these
// microseconds.
func peekMessages(fd int, s *unixSocket) (list []message, err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return nil, fmt.Errorf("start to read its queue (SO_PEEK_OFF): %w", err)
	}
	defer func() {
		if undo := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1); undo != nil {
			err = errors.Join(err, fmt.Errorf("stop to read its queue (SO_PEEK_OFF): %w", undo))
		}
	}()
	const readsOff = 1 // The receiving half is shut down.
	buf := make([]byte, 256<<10)
	var open bool // The last message goes on.
	for {
		m, more, err := peek(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if len(m.data) == 0 && !open && s.kind == unix.SOCK_SEQPACKET && s.shutdown&readsOff != 0 {
			return list, nil // The end of the connection, not an empty message.
		}
		m.data = append([]byte(nil), m.data...)
		if open {
			last := &list[len(list)-1]
			last.data = append(last.data, m.data...)
		} else {
			list = append(list, m)
		}
		open = more
	}
}

// peek reads once without taking away. more says that the message goes on. What
// came with the data (descriptors, credentials) is refused.
func peek(fd int, buf []byte) (m message, more bool, err error) {
	control := make([]byte, 4096)
	n, size, flags, from, err := unix.Recvmsg(fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return message{}, false, fmt.Errorf("read its queue: %w", err)
	}
	if size != 0 || flags&unix.MSG_CTRUNC != 0 {
		closeSent(control[:size])
		return message{}, false, fmt.Errorf("descriptors or credentials wait in its queue: try again when the program has read them: %w", ErrObstacle)
	}
	m.data = buf[:n]
	if address, ok := from.(*unix.SockaddrUnix); ok {
		m.from = address.Name
	}
	return m, flags&unix.MSG_TRUNC != 0, nil
}

// closeSent closes the descriptors that came with a message.
func closeSent(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}
}

// sendAgain puts messages into the queue of whoever is connected to fd. fd's
// send buffer is made large enough first; its options are set later.
func sendAgain(fd int, packets []*criuimg.Packet) error {
	const perMessage = 8 << 10 // More than the kernel's own share of a message.
	room := 0
	for _, p := range packets {
		room += len(p.Data) + perMessage
	}
	if room == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room); err != nil {
		return fmt.Errorf("make room for %d bytes: %w", room, err)
	}
	for _, p := range packets {
		n, err := unix.SendmsgN(fd, p.Data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil {
			return fmt.Errorf("send %d bytes again: %w", len(p.Data), err)
		}
		if n != len(p.Data) {
			return fmt.Errorf("send %d bytes again: the queue took %d", len(p.Data), n)
		}
	}
	return nil
}
