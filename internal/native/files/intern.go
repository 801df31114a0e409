// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// regularKey tells apart the files that are referred to otherwise than by a
// descriptor.
type regularKey struct {
	dev, ino uint64
	flags    uint32
	link     string
}

// directoryFlags are how a working or root directory is opened.
const directoryFlags = unix.O_RDONLY | unix.O_DIRECTORY

// Regular returns the id of a file that a process refers to otherwise than by a
// descriptor: one that is mapped, or the program. procLink is the path below
// /proc that leads to it, such as /proc/PID/map_files/A-B; flags are how it must
// be opened (unix.O_RDONLY, unix.O_RDWR). Equal files have equal ids. For a
// memfd it is the id of a memfd entry.
func (c *Collection) Regular(pid int, procLink string, flags uint32) (uint32, error) {
	d, err := c.tree.look(pid, procLink)
	if err != nil {
		return 0, err
	}
	return c.intern(d, flags)
}

// intern is Regular for a file that has been looked at.
func (c *Collection) intern(d *descriptor, flags uint32) (uint32, error) {
	key := regularKey{dev: d.stat.Dev, ino: d.stat.Ino, flags: flags, link: d.link}
	if id, ok := c.interned[key]; ok {
		return id, nil
	}
	id := c.newID()
	e, err := c.mapped(d, id, flags)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", d, err)
	}
	c.add(e, id)
	c.interned[key] = id
	return id, nil
}

// mapped makes the entry of a file that no descriptor leads to.
func (c *Collection) mapped(d *descriptor, id, flags uint32) (*fdinfo.FileEntry, error) {
	d.info.flags = flags
	k := kindOf(d)
	switch k.(type) {
	case memfdKind:
		return memfdEntry(c, d, noOwner())
	case regularKind:
	default:
		return nil, fmt.Errorf("%w: %s", ErrObstacle, unknownReason(d))
	}
	if why := k.obstacle(d); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrObstacle, why)
	}
	e := &regfile.RegFileEntry{
		Id: proto.Uint32(id), Fown: noOwner(), Flags: proto.Uint32(flags), Pos: proto.Uint64(0),
		Name: proto.String(d.link), Mode: proto.Uint32(d.stat.Mode),
	}
	if err := c.fillRegular(e, d); err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: e}, nil
}
