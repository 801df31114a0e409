// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"os"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/maps"
)

// memfdKind is the files of memfd_create. Their contents are memory, in the
// image of a shared memory segment, which package memory writes and reads: see
// Collection.Memfds and Rebuild.Memfds.
type memfdKind struct{}

// memfdPrefix begins the link text of a memfd. A file of a real file system
// with such a path is told apart by its device.
const memfdPrefix = "/memfd:"

func (memfdKind) handles(d *descriptor) bool {
	if d.mode() != unix.S_IFREG || d.stat.Nlink != 0 || !strings.HasPrefix(d.link, memfdPrefix) {
		return false
	}
	return unix.Major(d.stat.Dev) == 0 // No block device below it.
}

func (memfdKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_MEMFD} }

func (memfdKind) obstacle(d *descriptor) string {
	for _, lock := range d.info.locks {
		if why := lockObstacle(lock, d.tree.limits); why != "" {
			return why
		}
	}
	dev, err := maps.SharedMemoryDevice()
	switch {
	case err != nil:
		return err.Error()
	case d.stat.Dev != dev:
		return "memory files of huge pages cannot be saved: use --engine criu"
	case d.info.flags&unix.O_PATH != 0:
		return "a descriptor of a memory file that was opened with O_PATH cannot be saved"
	}
	if pid := d.tree.outsider(identity(d.link, &d.stat)); pid != 0 {
		return fmt.Sprintf("process %d, which is not in the tree, has it open too: dump that one with it, or let one of them close it", pid)
	}
	return ""
}

func (memfdKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	return memfdEntry(c, d, owner)
}

// memfdEntry makes the entry of one open memfd, and that of the memfd itself
// when it is the first.
func memfdEntry(c *Collection, d *descriptor, owner *fown.FownEntry) (*fdinfo.FileEntry, error) {
	note := noteOf[memfds](c.notes)
	inode, ok := note.ids[d.stat.Ino]
	if !ok {
		inode = uint32(len(note.ids)) + 1
		e, err := note.save(d, inode)
		if err != nil {
			return nil, err
		}
		c.set.Memfd = append(c.set.Memfd, e)
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_MEMFD.Enum(), Memfd: &memfd.MemfdFileEntry{
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC), Pos: proto.Uint64(uint64(d.info.pos)),
		Fown: owner, InodeId: proto.Uint32(inode),
	}}, nil
}

// Memfd is a memory file whose contents stand in a shared memory image.
type Memfd struct {
	ShmID uint32   // Id of the image.
	Size  int64    // In bytes.
	File  *os.File // At a dump open for reading, at a restore for both. Not the receiver's to close.
}

// memfds is what a dump knows of its memory files.
type memfds struct {
	ids  map[uint64]uint32 // By inode.
	list []Memfd
}

// save makes the entry of a memfd and keeps it open.
func (m *memfds) save(d *descriptor, id uint32) (*memfd.MemfdInodeEntry, error) {
	// A description of crtime's own, so that its position is nobody's.
	f, err := os.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("open the memory file again: %w", err)
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("ask for the seals: %w", err)
	}
	if m.ids == nil {
		m.ids = map[uint64]uint32{}
	}
	m.ids[d.stat.Ino] = id
	shm := uint32(d.stat.Ino)
	m.list = append(m.list, Memfd{ShmID: shm, Size: d.stat.Size, File: f})
	name := strings.TrimSuffix(strings.TrimPrefix(d.link, memfdPrefix), deletedSuffix)
	e := &memfd.MemfdInodeEntry{
		Name: proto.String(name), Uid: proto.Uint32(d.stat.Uid), Gid: proto.Uint32(d.stat.Gid),
		Size: proto.Uint64(uint64(d.stat.Size)), Shmid: proto.Uint32(shm),
		Seals: proto.Uint32(uint32(seals)), InodeId: proto.Uint64(uint64(id)),
	}
	setMemfdMode(e, d.stat.Mode)
	return e, nil
}

// close closes the memory files.
func (m *memfds) close() {
	for _, one := range m.list {
		one.File.Close()
	}
	*m = memfds{}
}

// Memfds lists the memory files that were collected so far, those of mappings
// too, for whoever saves their contents.
func (c *Collection) Memfds() []Memfd { return noteOf[memfds](c.notes).list }

// memfdModeField is memfd_inode_entry.mode, which CRIU 4.2 has and go-criu's
// types do not know yet.
const memfdModeField = 9

// setMemfdMode puts the mode where CRIU has it.
func setMemfdMode(e *memfd.MemfdInodeEntry, mode uint32) { extra.Set(e, memfdModeField, uint64(mode)) }

// memfdMode takes the mode out of the fields that go-criu's type does not know.
func memfdMode(e *memfd.MemfdInodeEntry) (mode uint32, ok bool) {
	value, ok := extra.Value(e, memfdModeField)
	return uint32(value), ok
}
