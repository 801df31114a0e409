// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// blockBytes is the unit of st_blocks.
const blockBytes = 512

// chunkedFrom is the size from which a ghost is stored by the ranges that hold
// data, as CRIU does.
const chunkedFrom = 3 * 4096

// ghostObstacle says why a file without a name cannot be saved, or "".
func ghostObstacle(d *descriptor) string {
	switch d.mode() {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO:
	default:
		return "its name was deleted, and it is neither a regular file, a directory nor a FIFO"
	}
	if !strings.HasSuffix(d.link, deletedSuffix) {
		return "it has no name in a file system" // A memfd_secret, or a file of /proc.
	}
	limit := d.tree.limits.ghostBytes()
	if size := d.stat.Blocks * blockBytes; d.mode() == unix.S_IFREG && size > limit {
		return fmt.Sprintf("its name was deleted, and its %d bytes are more than the %d that are saved of such a file: raise --ghost-limit",
			size, limit)
	}
	return ""
}

// ghostTable is the files without a name that have been saved.
type ghostTable struct {
	ids    map[[2]uint64]uint32 // By device and inode.
	opened []*os.File           // What is read when the images are written.
	linked map[[2]uint64]uint32 // Files that were given a new name: ids of their entries.
	made   []string             // The new names.
}

// add saves a file without a name and notes it as what stands for the entry
// with the given id.
func (g *ghostTable) add(c *Collection, d *descriptor, id uint32) error {
	key := [2]uint64{d.stat.Dev, d.stat.Ino}
	ghost, ok := g.ids[key]
	if !ok {
		ghost = uint32(len(g.ids)) + 1
		saved, err := g.save(d)
		if err != nil {
			return err
		}
		if g.ids == nil {
			g.ids = map[[2]uint64]uint32{}
		}
		g.ids[key] = ghost
		c.set.Ghost[ghost] = saved
	}
	c.remap(id, ghost, remap_file_path.RemapType_GHOST)
	return nil
}

// remap notes what stands for an entry.
func (c *Collection) remap(id, target uint32, how remap_file_path.RemapType) {
	c.set.Remap = append(c.set.Remap, &remap_file_path.RemapFilePathEntry{
		OrigId: proto.Uint32(id), RemapId: proto.Uint32(target), RemapType: how.Enum(),
	})
}

// save makes the image of a file without a name. Opening it through /proc needs
// no name, and works also where the process itself may only write to it.
func (g *ghostTable) save(d *descriptor) (*criuimg.Ghost, error) {
	e := &ghost_file.GhostFileEntry{
		Uid: proto.Uint32(d.stat.Uid), Gid: proto.Uint32(d.stat.Gid), Mode: proto.Uint32(d.stat.Mode),
		Dev: proto.Uint32(deviceNumber(d.stat.Dev)), Ino: proto.Uint64(d.stat.Ino),
		Atim: timeval(d.stat.Atim), Mtim: timeval(d.stat.Mtim),
	}
	ghost := &criuimg.Ghost{Entry: e}
	if d.mode() != unix.S_IFREG {
		return ghost, nil
	}
	f, err := os.OpenFile(d.path, os.O_RDONLY|unix.O_NOATIME, 0)
	if err != nil {
		return nil, fmt.Errorf("open the deleted file %s: %w", d.link, err)
	}
	g.opened = append(g.opened, f)
	ghost.Content, ghost.Size = f, d.stat.Size
	if d.stat.Size >= chunkedFrom {
		e.Chunks, e.Size = proto.Bool(true), proto.Uint64(uint64(d.stat.Size))
		if ghost.Chunks, err = dataRanges(f, d.stat.Size); err != nil {
			return nil, fmt.Errorf("look for the data in %s: %w", d.link, err)
		}
	}
	return ghost, nil
}

// dataRanges lists where a file has data. The description is crtime's own, so
// that its position is nobody's.
func dataRanges(f *os.File, size int64) ([]*ghost_file.GhostChunkEntry, error) {
	var ranges []*ghost_file.GhostChunkEntry
	for end := int64(0); end < size; {
		start, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // Nothing but a hole up to the end.
		}
		if err != nil {
			return nil, err
		}
		if end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		ranges = append(ranges, &ghost_file.GhostChunkEntry{
			Off: proto.Uint64(uint64(start)), Len: proto.Uint64(uint64(min(end, size) - start)),
		})
	}
	return ranges, nil
}

// linkPrefix is how the names begin that a dump makes, as those of CRIU.
const linkPrefix = "link_remap."

// link gives a file that has lost its name a new one beside it, and notes that
// as what stands for the entry with the given id. The new name stays, for the
// restore; Abandon removes it.
//
// A restore leaves the name too, so that the images can be restored again. The
// next dump of the same tree finds it and takes it, so that there is never more
// than one. (CRIU removes it, and its images can be restored once.)
func (g *ghostTable) link(c *Collection, d *descriptor, id uint32, old string) error {
	key := [2]uint64{d.stat.Dev, d.stat.Ino}
	target, ok := g.linked[key]
	if !ok {
		target = c.newID()
		name, made, err := linkBeside(d, path.Dir(old), target)
		if err != nil {
			return fmt.Errorf("give the file that was %s a new name: %w", old, err)
		}
		if g.linked == nil {
			g.linked = map[[2]uint64]uint32{}
		}
		g.linked[key] = target
		if made {
			g.made = append(g.made, name)
		}
		c.add(linkEntry(name), target)
	}
	c.remap(id, target, remap_file_path.RemapType_LINKED)
	return nil
}

// linkBeside returns a name in a directory by which an open file can be found: one
// that an earlier dump has made, or a new one, with the first number that is free.
func linkBeside(d *descriptor, dir string, number uint32) (name string, made bool, err error) {
	names, err := readNames(dir)
	if err != nil {
		return "", false, err
	}
	taken := map[string]bool{}
	for _, n := range names {
		if !strings.HasPrefix(n, linkPrefix) {
			continue
		}
		taken[n] = true
		var st unix.Stat_t
		if unix.Lstat(path.Join(dir, n), &st) == nil && st.Dev == d.stat.Dev && st.Ino == d.stat.Ino {
			return path.Join(dir, n), false, nil
		}
	}
	for ; ; number++ {
		n := linkPrefix + strconv.FormatUint(uint64(number), 10)
		if taken[n] {
			continue
		}
		err := unix.Linkat(unix.AT_FDCWD, d.path, unix.AT_FDCWD, path.Join(dir, n), unix.AT_SYMLINK_FOLLOW)
		if errors.Is(err, unix.EEXIST) {
			taken[n] = true // Since a moment ago.
			continue
		}
		if err != nil {
			return "", false, fmt.Errorf("link %s: %w", path.Join(dir, n), err)
		}
		return path.Join(dir, n), true, nil
	}
}

// readNames lists a directory.
func readNames(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// Abandon is Close for a dump that failed: it also removes the names that were
// made for files that had lost theirs.
func (c *Collection) Abandon() error {
	var errs []error
	for _, name := range c.ghosts.made {
		errs = append(errs, os.Remove(name))
	}
	c.ghosts.made = nil
	return errors.Join(append(errs, c.Close())...)
}
