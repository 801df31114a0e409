// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fifo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// fifoKind is a pipe with a path (mkfifo). Its entry names a second one, of a
// regular file, which has the path and the flags.
type fifoKind struct{}

func (fifoKind) handles(d *descriptor) bool {
	return d.mode() == unix.S_IFIFO && strings.HasPrefix(d.link, "/")
}

func (fifoKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_FIFO} }

// what names a FIFO.
func (fifoKind) what(d *descriptor) string { return "FIFO " + d.link }

func (fifoKind) obstacle(d *descriptor) string {
	if d.info.flags&unix.O_PATH != 0 {
		return "a descriptor of a FIFO that was opened with O_PATH cannot be saved"
	}
	if pid := d.tree.outsider(identity(d.link, &d.stat)); pid != 0 {
		return fmt.Sprintf("process %d (%s), which is not in the tree, has it open too: dump that one with it, or end it", pid, comm(pid))
	}
	return regularKind{}.obstacle(d)
}

func (fifoKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	e := &regfile.RegFileEntry{
		Id: proto.Uint32(c.newID()), Fown: owner,
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Pos: proto.Uint64(0),
		Name: proto.String(d.link), Mode: proto.Uint32(d.stat.Mode),
	}
	if err := c.fillRegular(e, d); err != nil {
		return nil, err
	}
	c.add(&fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: e}, e.GetId())
	note := noteOf[savedPipes](c.notes)
	if !writeOnly(d.info.flags) && note.first(d.stat.Ino) {
		data, err := c.queued(d)
		if err != nil {
			return nil, err
		}
		c.set.FIFOData = append(c.set.FIFOData, data)
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_FIFO.Enum(), Fifo: &fifo.FifoEntry{
		PipeId: proto.Uint32(uint32(d.stat.Ino)), RegfId: e.Id,
	}}, nil
}
