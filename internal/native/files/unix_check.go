// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// maxUnixName is the size of sun_path in struct sockaddr_un.
const maxUnixName = 108

// check refuses sockets that cannot be made again.
func (unixKind) check(x *index, e *fdinfo.FileEntry) error {
	s := e.GetUsk()
	if s.GetUflags() != 0 {
		return fmt.Errorf("%w: socket %d was connected to something outside the tree (flags %#x)", criuimg.ErrUnsupported, s.GetIno(), s.GetUflags())
	}
	switch s.GetType() {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	default:
		return fmt.Errorf("%w: socket %d is of type %d", criuimg.ErrUnsupported, s.GetIno(), s.GetType())
	}
	switch s.GetState() {
	case stateEstablished, stateClose, stateListen:
	default:
		return fmt.Errorf("%w: socket %d is in state %d", criuimg.ErrUnsupported, s.GetIno(), s.GetState())
	}
	if err := checkUnixName(s); err != nil {
		return err
	}
	if err := checkUsers(s, fieldPeerUID, fieldPeerGID, fieldOwnerUID, fieldOwnerGID); err != nil || s.GetPeer() == 0 {
		return err
	}
	peer := x.sockets[s.GetPeer()]
	switch {
	case peer == nil:
		return fmt.Errorf("%w: socket %d is connected to socket %d, which no process has", criuimg.ErrDamaged, s.GetIno(), s.GetPeer())
	case peer.GetType() != s.GetType():
		return fmt.Errorf("%w: sockets %d and %d are connected, and of types %d and %d", criuimg.ErrDamaged,
			s.GetIno(), peer.GetIno(), s.GetType(), peer.GetType())
	case peer.GetPeer() == s.GetIno():
		return nil
	case s.GetType() != unix.SOCK_DGRAM && peer.GetState() != stateListen:
		return fmt.Errorf("%w: socket %d is connected to socket %d, and not the other way round", criuimg.ErrDamaged, s.GetIno(), peer.GetIno())
	case len(peer.GetName()) == 0:
		return fmt.Errorf("%w: socket %d is connected to socket %d, which has no address", criuimg.ErrUnsupported, s.GetIno(), peer.GetIno())
	}
	return nil
}

// checkUnixName looks at an address.
func checkUnixName(s *sk_unix.UnixSkEntry) error {
	name := s.GetName()
	if len(name) > maxUnixName {
		return fmt.Errorf("%w: socket %d has an address of %d bytes", criuimg.ErrDamaged, s.GetIno(), len(name))
	}
	if !hasFile(name) {
		return nil
	}
	if dir := s.GetNameDir(); dir != "" && !cleanPath(dir) {
		return fmt.Errorf("%w: socket %d was bound in the directory %q", criuimg.ErrDamaged, s.GetIno(), dir)
	}
	path := bytes.TrimSuffix(name, []byte{0})
	if bytes.IndexByte(path, 0) >= 0 || len(path) == 0 {
		return fmt.Errorf("%w: socket %d has the address %q", criuimg.ErrDamaged, s.GetIno(), name)
	}
	if path[0] != '/' && s.GetNameDir() == "" {
		return fmt.Errorf("%w: socket %d has the address %q in no directory", criuimg.ErrDamaged, s.GetIno(), name)
	}
	return nil
}

// checkQueues refuses messages that cannot be sent again.
func (x *index) checkQueues() error {
	for i, p := range x.set.SocketQueue {
		s := x.files[p.Entry.GetIdFor()].GetUsk()
		switch {
		case s == nil:
			return fmt.Errorf("sk-queues.img: entry %d: %w: there is no UNIX socket %d", i, criuimg.ErrDamaged, p.Entry.GetIdFor())
		case len(p.Entry.GetScm()) > 0:
			return fmt.Errorf("sk-queues.img: entry %d: %w: a message with descriptors", i, criuimg.ErrUnsupported)
		case s.GetOpts().GetSoPasscred():
			return fmt.Errorf("sk-queues.img: entry %d: %w: a message with its sender's credentials", i, criuimg.ErrUnsupported)
		case s.GetState() == stateListen:
			return fmt.Errorf("sk-queues.img: entry %d: %w: a message for a listening socket", i, criuimg.ErrDamaged)
		}
	}
	return nil
}
