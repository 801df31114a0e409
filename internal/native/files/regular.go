// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
)

// regularKind is what is opened anew by its path alone: regular files,
// directories, the memory devices (/dev/null and its like), symbolic links
// opened with O_PATH.
type regularKind struct{}

func (regularKind) handles(d *descriptor) bool {
	if !strings.HasPrefix(d.link, "/") {
		return false
	}
	switch d.mode() {
	case unix.S_IFREG, unix.S_IFDIR:
		return true
	case unix.S_IFLNK:
		return d.info.flags&unix.O_PATH != 0
	case unix.S_IFCHR:
		return memoryDevice(d)
	default:
		return false
	}
}

// what names a file, or what looks like one.
func (regularKind) what(d *descriptor) string {
	if sort, _ := specialFile(d); sort != "" {
		return sort + " " + d.link
	}
	return d.link
}

// specialFile names a file of one of the kernel's own file systems, which nobody
// has mounted, and says why it cannot be saved; "": it is none of these.
func specialFile(d *descriptor) (sort, why string) {
	// From the kernel's include/uapi/linux/magic.h and ipc/mqueue.c.
	const mqueue, secretmem = 0x19800202, 0x5345434d
	var fs unix.Statfs_t
	if d.mode() != unix.S_IFREG || unix.Statfs(d.path, &fs) != nil {
		return "", ""
	}
	switch fs.Type {
	case mqueue:
		return "message queue", "what is in it cannot be saved: let the program close it first"
	case secretmem:
		return "secret memory", "nobody but its owner can read it: let the program close it first"
	default:
		return "", ""
	}
}

func (regularKind) types() []fdinfo.FdTypes { return []fdinfo.FdTypes{fdinfo.FdTypes_REG} }

func (regularKind) obstacle(d *descriptor) string {
	for _, lock := range d.info.locks {
		if why := lockObstacle(lock, d.tree.limits); why != "" {
			return why
		}
	}
	if d.fd >= 0 {
		sees, err := d.tree.sees(d.info.mntID)
		if err != nil {
			return err.Error()
		}
		if !sees && !d.leadsHere() {
			if _, why := specialFile(d); why != "" {
				return why
			}
			return "it lies on a mount that crtime does not see: run crtime in the tree's mount namespace, or use --engine criu"
		}
	}
	if why := procObstacle(d); why != "" {
		return why
	}
	_, why := standing(d)
	return why
}

// leadsHere reports whether the path of a file that was opened in another mount
// namespace leads to the same file in crtime's, as it does in a copy of that namespace.
func (d *descriptor) leadsHere() bool {
	var here unix.Stat_t
	return unix.Lstat(d.link, &here) == nil && here.Dev == d.stat.Dev && here.Ino == d.stat.Ino
}

func (regularKind) collect(c *Collection, d *descriptor) (*fdinfo.FileEntry, error) {
	owner, err := c.owner(d)
	if err != nil {
		return nil, err
	}
	if d.mode() == unix.S_IFDIR && owner.GetPid() != 0 {
		// F_NOTIFY leaves no other trace, and nothing else gives a directory one.
		return nil, fmt.Errorf("%w: it is watched by way of F_NOTIFY: let the program use inotify, or close the directory first: %w", ErrObstacle, engine.ErrUnsavable)
	}
	e := &regfile.RegFileEntry{
		Id: proto.Uint32(c.lastID), Fown: owner,
		Flags: proto.Uint32(d.info.flags &^ unix.O_CLOEXEC),
		Pos:   proto.Uint64(uint64(d.info.pos)),
		Name:  proto.String(d.link), Mode: proto.Uint32(d.stat.Mode),
	}
	if writeOnly(e.GetFlags()) && isKernelLog(d) {
		e.Pos = proto.Uint64(noPosition) // It cannot seek then.
	}
	if err := c.fillRegular(e, d); err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: e}, nil
}

// noPosition stands for "do not seek" in an entry's position.
const noPosition = ^uint64(0)

// fillRegular completes an entry with the file's path, the ghost that stands
// for it if it has none any more, and what tells at a restore that the path
// leads to the same file.
func (c *Collection) fillRegular(e *regfile.RegFileEntry, d *descriptor) error {
	how, why := standing(d)
	switch {
	case why != "":
		return fmt.Errorf("%w: %s", ErrObstacle, why)
	case how == nameless:
		e.Name = proto.String(strings.TrimSuffix(d.link, deletedSuffix))
		if err := c.ghosts.add(c, d, e.GetId()); err != nil {
			return err
		}
	case how == elsewhere:
		e.Name = proto.String(strings.TrimSuffix(d.link, deletedSuffix))
		if err := c.ghosts.link(c, d, e.GetId(), e.GetName()); err != nil {
			return err
		}
	}
	appending := writeOnly(e.GetFlags()) && e.GetFlags()&unix.O_APPEND != 0
	if d.mode() == unix.S_IFREG && !appending {
		e.Size = proto.Uint64(uint64(d.stat.Size))
	}
	return nil
}

// writeOnly reports whether open flags ask for writing alone.
func writeOnly(flags uint32) bool { return flags&unix.O_ACCMODE == unix.O_WRONLY }

// deletedSuffix is what the kernel appends to the path of a file whose name is
// gone.
const deletedSuffix = " (deleted)"

// Ways in which an open file can have a name.
type name int

const (
	named     name = iota // Its path leads to it.
	nameless              // It has no name at all.
	elsewhere             // Its path is gone, but it has another.
)

// foundAs is what standing has found out.
type foundAs struct {
	how name
	why string
}

// standing finds out how a file can be found again, and, if it cannot, why. It
// looks once.
func standing(d *descriptor) (how name, why string) {
	if d.stands == nil {
		how, why := findName(d)
		d.stands = &foundAs{how, why}
	}
	return d.stands.how, d.stands.why
}

// findName is standing without a memory.
func findName(d *descriptor) (how name, why string) {
	if d.stat.Nlink == 0 {
		return nameless, ghostObstacle(d)
	}
	var there unix.Stat_t
	flags := 0
	if d.mode() == unix.S_IFLNK {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	err := unix.Fstatat(unix.AT_FDCWD, d.link, &there, flags)
	switch {
	case err == nil && there.Dev == d.stat.Dev && there.Ino == d.stat.Ino:
		return named, ""
	case err == nil:
		return named, "another file has taken its name: rename that one"
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
		return named, fmt.Sprintf("its path cannot be looked at (%v)", err)
	case !d.tree.limits.LinkRemap:
		return elsewhere, "its name was deleted while it has others: --link-remap allows crtime to make a new one for it"
	case d.mode() != unix.S_IFREG:
		return elsewhere, "its name was deleted while it has others"
	default:
		return elsewhere, ""
	}
}

// isKernelLog reports whether a file is /dev/kmsg.
func isKernelLog(d *descriptor) bool {
	const minor = 11
	return memoryDevice(d) && unix.Minor(d.stat.Rdev) == minor
}

// memoryDevice reports whether a file is a character device without a state of
// its own: null, zero, full, random, urandom, kmsg.
func memoryDevice(d *descriptor) bool {
	const memoryMajor = 1 // The kernel's Documentation/admin-guide/devices.txt.
	if d.mode() != unix.S_IFCHR || unix.Major(d.stat.Rdev) != memoryMajor {
		return false
	}
	switch unix.Minor(d.stat.Rdev) {
	case 3, 5, 7, 8, 9, 11:
		return true
	default:
		return false
	}
}
