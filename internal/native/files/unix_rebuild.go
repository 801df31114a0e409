// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// restoredSocket is one that is being made anew.
type restoredSocket struct {
	id   uint32
	e    *sk_unix.UnixSkEntry
	fd   int // Crtime's own; -1 until it is made.
	peer *restoredSocket
	// far is the other end of a pair whose owner is gone: what waits in the
	// queue is sent from there, then it is closed. -1: there is none.
	far     int
	settled bool
	seen    *user // Who is at its other end; of a listening one, who made it.
	user    *user // Who has it.
}

// unixRebuild is all UNIX sockets of a restore. They are made together, since
// they lead to each other.
type unixRebuild struct {
	list    []*restoredSocket // In the order of the image.
	byIno   map[uint32]*restoredSocket
	live    map[uint32]*unixSocket // Those of the machine, by inode.
	settled bool
	packets map[uint32][]*criuimg.Packet // By file id.
}

// paired reports whether two sockets are connected to each other.
func (s *restoredSocket) paired() bool { return s.peer != nil && s.peer != s && s.peer.peer == s }

// connection reports whether it is an end of a connection, in the sense of
// stream sockets: its address is nobody's to find.
func (s *restoredSocket) connection() bool {
	return s.e.GetType() != unix.SOCK_DGRAM && s.e.GetState() == stateEstablished
}

// orphan reports whether it was connected to a socket that is gone.
func (s *restoredSocket) orphan() bool {
	return s.peer == nil && s.e.GetState() == stateEstablished &&
		(s.e.GetType() != unix.SOCK_DGRAM || len(s.e.GetName()) == 0)
}

func (unixKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	u := noteOf[unixRebuild](r.notes)
	if err := u.gather(r); err != nil {
		return -1, err
	}
	if err := u.makeAll(); err != nil {
		u.abandon()
		return -1, err
	}
	own := -1
	for _, s := range u.list {
		if s.id == e.GetId() {
			own = s.fd
			continue
		}
		r.put(s.id, s.fd)
	}
	return own, nil
}

// gather finds the sockets that are to be made.
func (u *unixRebuild) gather(r *Rebuild) error {
	var err error
	if u.live, err = unixSockets(); err != nil {
		return err
	}
	u.byIno = map[uint32]*restoredSocket{}
	for _, e := range r.held() {
		if usk := e.GetUsk(); usk != nil {
			s := &restoredSocket{id: e.GetId(), e: usk, fd: -1, far: -1}
			u.list = append(u.list, s)
			u.byIno[usk.GetIno()] = s
		}
	}
	for _, s := range u.list {
		s.peer = u.byIno[s.e.GetPeer()]
		s.user = r.userOf(s.id)
	}
	for _, s := range u.list {
		switch s.seen = recordedUser(s.e, fieldPeerUID, fieldPeerGID); {
		case s.seen != nil:
		case s.e.GetState() == stateListen:
			s.seen = s.user
		case s.peer != nil:
			s.seen = s.peer.user
		}
	}
	u.packets = map[uint32][]*criuimg.Packet{}
	for _, p := range r.set.SocketQueue {
		u.packets[p.Entry.GetIdFor()] = append(u.packets[p.Entry.GetIdFor()], p)
	}
	return nil
}

// makeAll makes every socket: those that others connect to first.
func (u *unixRebuild) makeAll() error {
	for _, s := range u.list {
		if s.e.GetState() == stateListen {
			if err := u.makeListener(s); err != nil {
				return s.failed(err)
			}
		}
	}
	for _, s := range u.list {
		if s.fd >= 0 {
			continue
		}
		if err := u.makeOne(s); err != nil {
			return s.failed(err)
		}
	}
	return nil
}

// failed says which socket an error is about.
func (s *restoredSocket) failed(err error) error {
	return fmt.Errorf("socket %d: %w", s.e.GetIno(), err)
}

func (u *unixRebuild) makeListener(s *restoredSocket) (err error) {
	if s.fd, err = newSocket(s.e); err != nil {
		return err
	}
	if err := bindAgain(s.fd, s.e, u.live); err != nil {
		return err
	}
	err = s.seen.as(func() error { return unix.Listen(s.fd, int(s.e.GetBacklog())) })
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// makeOne makes a socket that does not listen, and its peer if they are a pair.
func (u *unixRebuild) makeOne(s *restoredSocket) (err error) {
	switch {
	case s.paired():
		return u.makePair(s, s.peer)
	case s.orphan():
		s.fd, s.far, err = newPair(s.e, s.seen)
	default:
		s.fd, err = newSocket(s.e)
	}
	if err != nil {
		return err
	}
	return bindAgain(s.fd, s.e, u.live)
}

// makePair makes two sockets that are connected to each other. A connection that
// was accepted bears the listening socket's address, and gets it by being made
// in the same way.
func (u *unixRebuild) makePair(a, b *restoredSocket) (err error) {
	if a.connection() {
		for _, listener := range u.list {
			if listener.e.GetState() != stateListen || listener.e.GetType() != a.e.GetType() {
				continue
			}
			if sameAddress(listener.e, a.e) {
				return u.connectThrough(listener, b, a)
			}
			if sameAddress(listener.e, b.e) {
				return u.connectThrough(listener, a, b)
			}
		}
	}
	server := a
	if len(b.e.GetName()) > 0 {
		server = b
	}
	if a.fd, b.fd, err = newPair(a.e, server.seen); err != nil {
		return err
	}
	return errors.Join(bindAgain(a.fd, a.e, u.live), bindAgain(b.fd, b.e, u.live))
}

// sameAddress reports whether two sockets bear the same address.
func sameAddress(a, b *sk_unix.UnixSkEntry) bool {
	return len(a.GetName()) > 0 && bytes.Equal(a.GetName(), b.GetName()) && a.GetNameDir() == b.GetNameDir()
}

// connectThrough makes a connection at a listening socket.
func (u *unixRebuild) connectThrough(listener, client, server *restoredSocket) (err error) {
	if client.fd, err = newSocket(client.e); err != nil {
		return err
	}
	if err := bindAgain(client.fd, client.e, u.live); err != nil {
		return err
	}
	if err := server.seen.as(func() error { return connectSocket(client.fd, listener) }); err != nil {
		return err
	}
	server.fd, _, err = unix.Accept4(listener.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept its connection: %w", err)
	}
	return nil
}

// connectSocket connects to a restored socket by its address, or by its file
// if the address is a path: that may have been deleted, or be relative.
func connectSocket(fd int, to *restoredSocket) error {
	name := to.e.GetName()
	if hasFile(name) {
		file, err := socketFile(to.fd)
		if err != nil {
			return err
		}
		defer unix.Close(file)
		name = bySocketFile(file)
	}
	if err := connectTo(fd, name); err != nil {
		return fmt.Errorf("connect to socket %d (%q): %w", to.e.GetIno(), addressText(to.e.GetName()), err)
	}
	return nil
}

func newSocket(e *sk_unix.UnixSkEntry) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, int(e.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("make a UNIX socket of type %d: %w", e.GetType(), err)
	}
	return fd, nil
}

// newPair makes a pair of sockets, each with maker at its other end.
func newPair(e *sk_unix.UnixSkEntry, maker *user) (a, b int, err error) {
	var pair [2]int
	err = maker.as(func() (err error) {
		pair, err = unix.Socketpair(unix.AF_UNIX, int(e.GetType())|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return -1, -1, fmt.Errorf("make a pair of UNIX sockets of type %d: %w", e.GetType(), err)
	}
	return pair[0], pair[1], nil
}

// abandon closes what was made.
func (u *unixRebuild) abandon() {
	for _, s := range u.list {
		if s.fd >= 0 {
			unix.Close(s.fd)
		}
	}
	u.closeFars()
	u.list = nil
}

// close implements closer. The sockets themselves belong to the Rebuild.
func (u *unixRebuild) close() error { //nolint:unparam // It implements closer.
	u.closeFars()
	return nil
}

// closeFars closes the far ends that are left.
func (u *unixRebuild) closeFars() {
	for _, s := range u.list {
		s.closeFar()
	}
}

func (s *restoredSocket) closeFar() {
	if s.far >= 0 {
		unix.Close(s.far)
		s.far = -1
	}
}
