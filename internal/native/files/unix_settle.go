// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	"golang.org/x/sys/unix"
)

// settle connects and fills all sockets at the first call, and does nothing at
// the others.
func (unixKind) settle(r *Rebuild, _ *fdinfo.FileEntry, _ int) error {
	u := noteOf[unixRebuild](r.notes)
	if u.settled {
		return nil
	}
	u.settled = true
	for _, s := range u.list {
		if err := u.connect(s); err != nil {
			return s.failed(err)
		}
	}
	// Options and shutdown come last: they could forbid what is done before.
	for _, s := range u.list {
		if err := r.giveBack(s.fd, s.id, s.e); err != nil {
			return s.failed(err)
		}
		if err := s.finish(); err != nil {
			return s.failed(err)
		}
	}
	return nil
}

// connect fills a socket's queue and connects it to its peer, in the order that
// its owners must have kept: a datagram socket that is connected itself takes
// connections and messages from its peer alone.
func (u *unixRebuild) connect(s *restoredSocket) error {
	if s.settled {
		return nil
	}
	s.settled = true
	if s.paired() {
		return u.fill(s, s.peer.fd)
	}
	if s.peer == s {
		if err := connectSocket(s.fd, s); err != nil {
			return err
		}
		return u.fill(s, s.fd)
	}
	sender := s.far
	if s.e.GetType() == unix.SOCK_DGRAM {
		for _, other := range u.list {
			if other.peer != s {
				continue
			}
			if err := u.connect(other); err != nil {
				return err
			}
			if sender < 0 {
				sender = other.fd
			}
		}
	}
	if err := u.fill(s, sender); err != nil {
		return err
	}
	s.closeFar()
	if s.peer == nil {
		return nil
	}
	if s.e.GetType() == unix.SOCK_DGRAM {
		return connectSocket(s.fd, s.peer)
	}
	// It waits to be accepted. Who the server will see cannot be asked before.
	return s.user.as(func() error { return connectSocket(s.fd, s.peer) })
}

// fill puts what waited into a socket's queue. sender is connected to it, or -1:
// then somebody does it who is gone afterwards.
func (u *unixRebuild) fill(s *restoredSocket, sender int) error {
	packets := u.packets[s.id]
	if len(packets) == 0 {
		return nil
	}
	if sender < 0 {
		var err error
		if sender, err = newSocket(s.e); err != nil {
			return err
		}
		defer unix.Close(sender)
		if err := connectSocket(sender, s); err != nil {
			return err
		}
	}
	if err := sendAgain(sender, packets); err != nil {
		return fmt.Errorf("fill its queue: %w", err)
	}
	return nil
}

// finish sets what a socket's owner set.
func (s *restoredSocket) finish() error {
	if err := setOptions(s.fd, s.e.GetOpts()); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, int(s.e.GetFlags()&statusFlags)); err != nil {
		return fmt.Errorf("set the status flags %#o: %w", s.e.GetFlags(), err)
	}
	how, ok := map[sk_opts.SkShutdown]int{
		sk_opts.SkShutdown_READ: unix.SHUT_RD, sk_opts.SkShutdown_WRITE: unix.SHUT_WR, sk_opts.SkShutdown_BOTH: unix.SHUT_RDWR,
	}[s.e.GetShutdown()]
	if !ok {
		return nil
	}
	// ENOTCONN: the kernel shuts down all the same.
	if err := unix.Shutdown(s.fd, how); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return fmt.Errorf("shut it down: %w", err)
	}
	return nil
}
