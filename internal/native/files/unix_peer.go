// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"math"
	"os"
	"runtime"

	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"
)

// Servers ask a connection who is at its other end (SO_PEERCRED), and may grant
// what they would not grant to anybody else. The kernel notes the user and group of
// whoever made the pair, the connection, or, for the client, of whoever let the
// server listen; so that is what crtime is for a moment when it makes them anew.
// The number of the process is not kept: it is crtime's own, which has ended then.

// Fields of crtime's own in unix_sk_entry: what SO_PEERCRED tells. Sockets that
// were never connected have none.
const (
	fieldPeerUID = 50001
	fieldPeerGID = 50002
)

// recordPeer notes who is at the other end of a socket; of a listening one it is
// who made it listen.
func recordPeer(e *sk_unix.UnixSkEntry, fd int) error {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("ask who is at the other end (SO_PEERCRED): %w", err)
	}
	const none = math.MaxUint32
	if peer.Uid != none {
		recordUser(e, fieldPeerUID, fieldPeerGID, user{peer.Uid, peer.Gid})
	}
	return nil
}

// as calls f, which makes connections, as another user; nil: as crtime's own.
func (u *user) as(f func() error) error {
	if u == nil || int(u.uid) == os.Geteuid() && int(u.gid) == os.Getegid() {
		return f()
	}
	failed := make(chan error)
	go func() {
		// Never unlocked: the thread ends, and what it was with it.
		runtime.LockOSThread()
		if err := u.become(); err != nil {
			failed <- fmt.Errorf("become user %d and group %d for a moment: %w", u.uid, u.gid, err)
			return
		}
		failed <- f()
	}()
	err := <-failed
	// A change of user makes a process undumpable, and the new processes could not
	// fetch descriptors from crtime any more.
	if undo := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err == nil && undo != nil {
		return fmt.Errorf("become dumpable again: %w", undo)
	}
	return err
}

// become changes the effective user and group of this thread alone, other than
// syscall.Setresuid. It keeps its capabilities, if it can, so that a path is no
// obstacle.
func (u *user) become() error {
	const noSetuidFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP of linux/securebits.h.
	_ = unix.Prctl(unix.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0)
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(u.gid), keep); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(u.uid), keep); errno != 0 {
		return errno
	}
	return nil
}
