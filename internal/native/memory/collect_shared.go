// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	nmaps "github.com/crtime/crtime/internal/native/maps"
)

// sharedMemory is one object of anonymous shared memory, which any number of
// mappings in any number of processes share.
type sharedMemory struct {
	inode uint64
	size  uint64 // Up to where any process has it mapped.
	link  string // Of one of the mappings.
}

// addShared notes the object behind a mapping.
func (c *collector) addShared(r region) {
	o := c.shared[r.Inode]
	if o == nil {
		o = &sharedMemory{inode: r.Inode, link: r.link}
		c.shared[r.Inode] = o
	}
	o.size = max(o.size, r.Offset+r.Size())
}

// sharedInodes lists the objects of anonymous shared memory.
func (c *collector) sharedInodes() []uint64 { return slices.Sorted(maps.Keys(c.shared)) }

// objects plans the saving of everything that is shared.
func (c *collector) objects() error {
	for _, inode := range c.sharedInodes() {
		o := c.shared[inode]
		f, err := os.Open(o.link)
		if err != nil {
			return fmt.Errorf("the shared memory %d: %w", inode, err)
		}
		err = c.object(inode, o.size, f, &linkContents{path: o.link})
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("the shared memory %d: %w", inode, err)
		}
	}
	memfds := slices.Clone(c.files.Memfds())
	slices.SortFunc(memfds, func(a, b files.Memfd) int { return cmp.Compare(a.ShmID, b.ShmID) })
	for _, m := range memfds {
		if err := c.object(uint64(m.ShmID), uint64(m.Size), m.File, &fileContents{file: m.File}); err != nil {
			return fmt.Errorf("the memory file %d: %w", m.ShmID, err)
		}
	}
	return nil
}

// object plans the saving of one object.
func (c *collector) object(id, size uint64, f *os.File, from contents) error {
	if _, twice := c.set.SharedMemory[id]; twice {
		return errors.New("two objects have this number")
	}
	m := &criuimg.Pagemap{PagesID: c.plan.nextID()}
	if err := addData(m, f, size); err != nil {
		return err
	}
	runs, err := runsOf(m.Entries)
	if err != nil {
		return err
	}
	c.set.SharedMemory[id] = m
	c.plan.add(m.PagesID, runs, from)
	return nil
}

// addData lists the pages of a memory file that hold something, up to a size.
// Pages on swap hold something; those that fallocate(2) only reserved do not.
func addData(m *criuimg.Pagemap, f *os.File, size uint64) error {
	end := int64(size+pageSize-1) &^ (pageSize - 1)
	for at := int64(0); at < end; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for data: %w", err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("look for a hole: %w", err)
		}
		// The size need not be whole pages, and then nor is the last hole.
		hole = (hole + pageSize - 1) &^ (pageSize - 1)
		if r := (nmaps.Range{Start: uint64(min(data, end)), End: uint64(min(hole, end))}); r.Size() > 0 {
			addRange(m, r)
		}
		at = hole
	}
	return nil
}
