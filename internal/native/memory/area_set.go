// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// taskSize is where the addresses of a process end: 47 bits, less one page, as
// with four levels of page tables on x86-64. arm64 has one bit more, but gives
// it to nobody who does not ask.
const taskSize = 1<<47 - pageSize

// spacesOf reads the address spaces of all processes that have one, parents
// before children. A zombie has none.
func spacesOf(s *criuimg.Set) ([]*space, error) {
	var out []*space
	for _, pid := range s.PIDs() {
		p := s.Process[pid]
		if p == nil || p.MM == nil {
			continue
		}
		runs, pages, err := pagesOf(p.Pagemap)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		sp, err := newSpace(int(pid), p.MM, runs, pages)
		if err != nil {
			return nil, err
		}
		out = append(out, sp)
	}
	return out, nil
}

// pagesOf reads a pagemap, which may be missing.
func pagesOf(m *criuimg.Pagemap) ([]run, uint32, error) {
	if m == nil {
		return nil, 0, nil
	}
	runs, err := runsOf(m.Entries)
	return runs, m.PagesID, err
}

// object is memory that processes share and that has contents of its own: made
// by MAP_SHARED|MAP_ANONYMOUS, or a memfd.
type object struct {
	id    uint64 // The shmid of mappings and memfds.
	size  uint64
	memfd bool   // Otherwise of anonymous mappings.
	file  uint32 // A file of files.img that is this memfd.
	runs  []run
	pages uint32

	filled bool // Its contents have been written.
}

// sharedOf lists the shared objects, by their number.
func sharedOf(s *criuimg.Set, spaces []*space) ([]*object, error) {
	all := make(map[uint64]*object)
	if err := addMemfds(s, all); err != nil {
		return nil, err
	}
	for _, sp := range spaces {
		for _, e := range sp.areas {
			if e.GetStatus()&statusAnonShared == 0 {
				continue
			}
			o := all[e.GetShmid()]
			if o == nil {
				o = &object{id: e.GetShmid()}
				all[o.id] = o
			}
			if o.memfd {
				return nil, fmt.Errorf("process %d: the anonymous mapping %s has the number %d of a memfd: %w",
					sp.pid, spanOf(e), o.id, ErrImages)
			}
			o.size = max(o.size, e.GetPgoff()+spanOf(e).size())
		}
	}
	for id, o := range all {
		var err error
		if o.runs, o.pages, err = pagesOf(s.SharedMemory[id]); err != nil {
			return nil, fmt.Errorf("shared memory %d: %w", id, err)
		}
		if n := len(o.runs); n > 0 && o.runs[n-1].end() > (o.size+pageSize-1)&^(pageSize-1) {
			return nil, fmt.Errorf("shared memory %d has %d bytes, but pages are saved up to %d: %w",
				id, o.size, o.runs[n-1].end(), ErrImages)
		}
	}
	out := make([]*object, 0, len(all))
	for _, o := range all {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *object) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return out, nil
}

// addMemfds adds the memfds. Several files may be one memfd; any will do.
func addMemfds(s *criuimg.Set, all map[uint64]*object) error {
	byInode := make(map[uint64]uint32)
	for _, f := range s.Files {
		if f.GetType() == fdinfo.FdTypes_MEMFD {
			byInode[uint64(f.GetMemfd().GetInodeId())] = f.GetId()
		}
	}
	for _, inode := range s.Memfd {
		file, used := byInode[inode.GetInodeId()]
		if !used {
			continue
		}
		id := uint64(inode.GetShmid())
		if all[id] != nil {
			return fmt.Errorf("two memfds have the number %d: %w", id, ErrImages)
		}
		all[id] = &object{id: id, size: inode.GetSize(), memfd: true, file: file}
	}
	return nil
}
