// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pipe"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// pipeKind is the two ends of pipe(2). What is in a pipe is saved with its
// first readable end.
type pipeKind struct{}

func (pipeKind) handles(d *descriptor) bool {
	return d.mode() == unix.S_IFIFO && strings.HasPrefix(d.link, "pipe:[")
}

func (pipeKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_PIPE} }

// what names a pipe.
func (pipeKind) what(d *descriptor) string { return d.link }

func (pipeKind) obstacle(d *descriptor) string {
	const notification = unix.O_EXCL // O_NOTIFICATION_PIPE of pipe2.
	switch {
	case d.info.flags&unix.O_PATH != 0:
		return "a descriptor of a pipe that was opened with O_PATH cannot be saved"
	case d.info.flags&notification != 0:
		return "a pipe for the kernel's notifications (O_NOTIFICATION_PIPE) cannot be saved"
	}
	if pid := d.tree.outsider(d.link); pid != 0 {
		return fmt.Sprintf("process %d (%s), which is not in the tree, has this pipe open too: "+
			"dump that one with it, or start the program with a file instead of the pipe", pid, comm(pid))
	}
	return ""
}

func (pipeKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	e := &pipe.PipeEntry{
		PipeId: proto.Uint32(uint32(d.stat.Ino)), Fown: owner,
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC),
	}
	recordUser(e, fieldOwnerUID, fieldOwnerGID, user{d.stat.Uid, d.stat.Gid})
	note := noteOf[savedPipes](c.notes)
	if !writeOnly(d.info.flags) && note.first(d.stat.Ino) {
		data, err := c.queued(d)
		if err != nil {
			return nil, err
		}
		c.set.PipeData = append(c.set.PipeData, data)
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_PIPE.Enum(), Pipe: e}, nil
}

// savedPipes notes the pipes and FIFOs whose contents are in the images.
type savedPipes struct{ inodes map[uint64]bool }

// first reports, once, that a pipe has not been seen yet.
func (s *savedPipes) first(inode uint64) bool {
	if s.inodes == nil {
		s.inodes = map[uint64]bool{}
	}
	if s.inodes[inode] {
		return false
	}
	s.inodes[inode] = true
	return true
}
