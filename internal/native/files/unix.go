// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// unixKind is UNIX sockets: pairs, listeners, connections within the tree,
// datagram sockets, with what waits in their queues.
//
// What a restored socket does not have: the process that SO_PEERCRED tells is
// crtime, which makes the connections. The user and group are right, unless two
// ends of a connection were made by different users and the socket at which they
// met is gone: then both have those of the client.
type unixKind struct{}

func (unixKind) handles(d *descriptor) bool { return strings.HasPrefix(protocolOf(d), "UNIX") }
func (unixKind) types() []fdinfo.FdTypes    { return []fdinfo.FdTypes{fdinfo.FdTypes_UNIXSK} }

// protocolOf names the protocol of a socket ("TCP", "UNIX-STREAM"); "": it is
// none. Other than the socket monitor it works in any network namespace.
func protocolOf(d *descriptor) string {
	if d.mode() != unix.S_IFSOCK || d.info.flags&unix.O_PATH != 0 {
		return ""
	}
	name := make([]byte, 64)
	n, err := unix.Getxattr(d.path, "system.sockprotoname", name)
	if err != nil {
		return ""
	}
	return string(bytes.TrimRight(name[:n], "\x00"))
}

func (unixKind) what(d *descriptor) string {
	s, err := d.tree.unixSocket(uint32(d.stat.Ino))
	if err != nil || len(s.name) == 0 {
		return "UNIX socket " + strings.TrimPrefix(d.link, "socket:")
	}
	return "UNIX socket " + addressText(s.name)
}

// addressText shows an address as others do, with @ for the first byte of an
// abstract one.
func addressText(name []byte) string {
	if len(name) > 0 && name[0] == 0 {
		return "@" + string(name[1:])
	}
	path, _, _ := bytes.Cut(name, []byte{0})
	return string(path)
}

func (unixKind) obstacle(d *descriptor) string {
	if why := d.tree.otherNetwork(d.pid); why != "" {
		return why
	}
	s, err := d.tree.unixSocket(uint32(d.stat.Ino))
	if err != nil {
		return err.Error()
	}
	switch s.kind {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	default:
		return fmt.Sprintf("UNIX sockets of type %d cannot be saved", s.kind)
	}
	if pid := d.tree.outsider(d.link); pid != 0 {
		return fmt.Sprintf("process %d, which is not in the tree, has it open too: dump that one with it, or let one of them close it", pid)
	}
	if pid := d.tree.outsider(socketLink(s.peer)); s.peer != 0 && pid != 0 {
		return fmt.Sprintf("it is connected to process %d (%s), which is not in the tree: dump that one with it, or let the program close the connection", pid, comm(pid))
	}
	if n, err := lineNumber(d.info.rest, "scm_fds", 10); err == nil && n > 0 {
		return fmt.Sprintf("%d descriptors wait in its queue (SCM_RIGHTS): try again when the program has read them", n)
	}
	if listener := d.tree.listeners[s.ino]; listener != 0 {
		if s.sent != 0 {
			return "it has sent data to a connection that is not accepted yet, where nobody else can read them: try again when it was accepted"
		}
		if pid := d.tree.outsider(socketLink(listener)); pid != 0 {
			return fmt.Sprintf("it waits to be accepted by process %d (%s), which is not in the tree: try again when that has done so", pid, comm(pid))
		}
	}
	for _, client := range s.waiting {
		if client == 0 {
			return "a client has connected and closed before it was accepted: try again when the program has accepted it"
		}
		if pid := d.tree.outsider(socketLink(client)); pid != 0 {
			return fmt.Sprintf("process %d (%s), which is not in the tree, waits for its connection to be accepted: try again when the program has done so", pid, comm(pid))
		}
	}
	return ""
}

// unixSocket returns what is known of a UNIX socket. All of the network namespace
// are asked for at once.
func (t *tree) unixSocket(ino uint32) (*unixSocket, error) {
	if t.sockets == nil {
		sockets, err := unixSockets()
		if err != nil {
			return nil, err
		}
		t.sockets, t.listeners = sockets, map[uint32]uint32{}
		for _, s := range sockets {
			for _, client := range s.waiting {
				t.listeners[client] = s.ino
			}
		}
	}
	if s := t.sockets[ino]; s != nil {
		return s, nil
	}
	return nil, errNotUnix
}

// socketLink is the text of the /proc link of a socket.
func socketLink(ino uint32) string { return "socket:[" + strconv.FormatUint(uint64(ino), 10) + "]" }

// otherNetwork says why the sockets of a process cannot be saved if it is in
// another network namespace than crtime, or "". It looks once for each process.
func (t *tree) otherNetwork(pid int) string {
	why, ok := t.networks[pid]
	if !ok {
		why = findOtherNetwork(pid)
		if t.networks == nil {
			t.networks = map[int]string{}
		}
		t.networks[pid] = why
	}
	return why
}

// findOtherNetwork is otherNetwork without a memory.
func findOtherNetwork(pid int) string {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Sprintf("crtime's own network namespace cannot be looked at (%v)", err)
	}
	other, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	switch {
	case err != nil:
		return fmt.Sprintf("its network namespace cannot be looked at (%v)", err)
	case own != other:
		return "it is in another network namespace: use --engine criu"
	default:
		return ""
	}
}

// unixDump is what a dump knows of the UNIX sockets.
type unixDump struct {
	inside  map[uint32]bool // Inodes of those in the tree.
	senders []queuedFrom
}

func (unixKind) prepare(c *Collection, own []*descriptor) {
	u := noteOf[unixDump](c.notes)
	u.inside = make(map[uint32]bool, len(own))
	for _, d := range own {
		u.inside[uint32(d.stat.Ino)] = true
	}
}

func (unixKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	fd, err := c.file(d)
	if err != nil {
		return nil, err
	}
	u := noteOf[unixDump](c.notes)
	s, err := c.tree.unixSocket(uint32(d.stat.Ino))
	if err != nil {
		return nil, err
	}
	peer, err := u.peerOf(c.tree, s)
	if err != nil {
		return nil, err
	}
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	e := &sk_unix.UnixSkEntry{
		Id: proto.Uint32(c.lastID), Ino: proto.Uint32(s.ino), Type: proto.Uint32(uint32(s.kind)),
		State: proto.Uint32(uint32(s.state)), Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Uflags: proto.Uint32(0),
		Backlog: proto.Uint32(s.sent), Peer: proto.Uint32(peer), Fown: owner, Name: s.name,
	}
	if ids := c.set.Process[uint32(d.pid)].IDs; ids != nil {
		e.NsId = ids.NetNsId
	}
	if e.Name == nil {
		e.Name = []byte{} // The field is required.
	}
	if s.shutdown != 0 {
		e.Shutdown = sk_opts.SkShutdown(s.shutdown).Enum()
	}
	if err := recordAddress(e, fd); err != nil {
		return nil, err
	}
	recordUser(e, fieldOwnerUID, fieldOwnerGID, user{d.stat.Uid, d.stat.Gid})
	if err := recordPeer(e, fd); err != nil {
		return nil, err
	}
	if e.Opts, err = readOptions(fd); err != nil {
		return nil, err
	}
	if s.state != stateListen {
		if err := u.queue(c, fd, s); err != nil {
			return nil, err
		}
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_UNIXSK.Enum(), Usk: e}, nil
}

// peerOf returns the inode that an image has as a socket's peer: that of the
// connected socket, or of the listening one at which it waits; 0: none.
func (u *unixDump) peerOf(t *tree, s *unixSocket) (uint32, error) {
	for _, client := range s.waiting {
		if !u.inside[client] {
			return 0, fmt.Errorf("a client that waits to be accepted is not in the tree: %w", ErrObstacle)
		}
	}
	if s.peer == 0 {
		listener := t.listeners[s.ino]
		if listener != 0 && !u.inside[listener] {
			return 0, fmt.Errorf("it waits to be accepted by socket %d, which is not in the tree: %w", listener, ErrObstacle)
		}
		if listener != 0 && s.sent != 0 {
			return 0, fmt.Errorf("it has sent data to a connection that is not accepted yet, where nobody else can read them: try again when it was accepted: %w", ErrObstacle)
		}
		return listener, nil
	}
	if !u.inside[s.peer] {
		return 0, fmt.Errorf("its peer (socket %d) is not in the tree: %w", s.peer, ErrObstacle)
	}
	peer := t.sockets[s.peer]
	if peer == nil {
		return 0, fmt.Errorf("its peer (socket %d): %w", s.peer, errNotUnix)
	}
	if peer.peer != s.ino && len(peer.name) == 0 {
		return 0, fmt.Errorf("its peer (socket %d) has no address, and is not connected to it: %w", s.peer, ErrObstacle)
	}
	return s.peer, nil
}
