// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
)

// What VmaEntry.Status says of a mapping, from CRIU's image.h.
const (
	VMARegular     = 1 << 0 // Its content is part of the dump.
	VMAStack       = 1 << 1 // It grows downward.
	VMAVsyscall    = 1 << 2
	VMAVdso        = 1 << 3
	VMAHeap        = 1 << 5
	VMAFilePrivate = 1 << 6 // Shmid is the id of the file.
	VMAFileShared  = 1 << 7 // Shmid is the id of the file.
	VMAAnonShared  = 1 << 8 // Shmid is the key in Set.SharedMemory.
	VMAAnonPrivate = 1 << 9
	VMASysVIPC     = 1 << 10
	VMASocket      = 1 << 11
	VMAVvar        = 1 << 12
	VMAAIORing     = 1 << 13
	VMAMemfd       = 1 << 14 // With VMAFileShared or VMAFilePrivate.
	VMAShadowStack = 1 << 15
	VMAGuard       = 1 << 16 // MADV_GUARD_INSTALL within another mapping; behind all others in the list.
	VMAUprobes     = 1 << 17
)

// addressLimit bounds addresses of user memory on every machine: x86-64 with
// five levels of page tables has 56 bits for it. The kernel of the restore knows
// its own, lower limit.
const addressLimit = 1 << 56

// auxvLimit bounds MmSavedAuxv: CRIU's AT_VECTOR_SIZE is a tenth of this.
const auxvLimit = 512

// pageSize is the kernel's, to which CRIU's images are bound as well.
func pageSize() uint64 { return uint64(os.Getpagesize()) }

// memoryCheck is one run of checkMemory.
type memoryCheck struct {
	*Set
	types    map[uint32]fdinfo.FdTypes // By the ids of the files.
	segments map[uint64]uint64         // Sizes of shared memory, as far as it is mapped anywhere.
}

// checkMemory checks the mappings, the pagemaps and the shared memory.
func (s *Set) checkMemory() error {
	c := &memoryCheck{Set: s, types: s.fileTypes(), segments: make(map[uint64]uint64)}
	for _, m := range s.Memfd {
		c.segments[uint64(m.GetShmid())] = m.GetSize()
	}
	for _, pid := range s.PIDs() {
		if p := s.Process[pid]; !p.Zombie() {
			if err := c.process(pid, p); err != nil {
				return err
			}
		}
	}
	return s.checkSegments(c.segments)
}

// process checks the memory of one process.
func (c *memoryCheck) process(pid uint32, p *Process) error {
	file := kindMM.name(uint64(pid))
	if c.types[p.MM.GetExeFileId()] != fdinfo.FdTypes_REG {
		return unknown(file, 0, "executable file", p.MM.GetExeFileId())
	}
	if n := len(p.MM.GetMmSavedAuxv()); n > auxvLimit || n%2 != 0 {
		return damaged(file, 0, "an auxiliary vector of %d words", n)
	}
	vmas, err := checkVMAs(file, p.MM.GetVmas())
	if err != nil {
		return err
	}
	for i, v := range vmas {
		if err := c.backing(file, i, v); err != nil {
			return err
		}
	}
	return checkPagemap(kindPagemap.name(uint64(pid)), p.Pagemap, vmas)
}

// checkVMAs checks the places of the mappings, and returns those that are
// mappings of the kernel's, without the guards behind them.
func checkVMAs(file string, all []*vma.VmaEntry) ([]*vma.VmaEntry, error) {
	var end uint64
	mapped := all
	for i, v := range all {
		start, guard := v.GetStart(), v.GetStatus()&VMAGuard != 0
		what := func(format string) error {
			return damaged(file, 0, "mapping %d at %s-%s "+format, i, address(start), address(v.GetEnd()))
		}
		limit := uint64(addressLimit)
		if v.GetStatus()&VMAVsyscall != 0 {
			limit = 1<<64 - 1 // [vsyscall] is the one page that lies in the kernel's half.
		}
		switch {
		case start%pageSize() != 0 || v.GetEnd()%pageSize() != 0:
			return nil, what("is not aligned to pages")
		case start >= v.GetEnd():
			return nil, what("ends before it begins")
		case v.GetEnd() > limit:
			return nil, what("is outside a process's memory")
		case !guard && len(mapped) < len(all):
			return nil, what("comes behind the guards")
		case guard && len(mapped) == len(all):
			mapped, end = all[:i], 0
		}
		if start < end {
			return nil, what("begins before the end of the one before it")
		}
		end = v.GetEnd()
	}
	return mapped, nil
}

// backing checks that what the mapping number i of a process shows exists, and
// collects the sizes of shared memory.
func (c *memoryCheck) backing(file string, i int, v *vma.VmaEntry) error {
	switch status := v.GetStatus(); {
	case status&(VMAAIORing|VMASysVIPC) != 0:
		return nil
	case status&(VMAFilePrivate|VMAFileShared|VMASocket) != 0:
		if _, ok := c.types[uint32(v.GetShmid())]; !ok || v.GetShmid() > 1<<32-1 {
			return unknown(file, 0, "file "+address(v.GetShmid())+" mapped at", address(v.GetStart()))
		}
	case status&VMAAnonShared != 0:
		if c.SharedMemory[v.GetShmid()] == nil {
			return unknown(file, 0, "shared memory "+address(v.GetShmid())+" mapped at", address(v.GetStart()))
		}
		end := v.GetPgoff() + v.GetEnd() - v.GetStart()
		if v.GetPgoff() > addressLimit || v.GetPgoff()%pageSize() != 0 {
			return damaged(file, 0, "mapping %d has the offset %s in shared memory", i, address(v.GetPgoff()))
		}
		c.segments[v.GetShmid()] = max(c.segments[v.GetShmid()], end)
	}
	return nil
}

// checkSegments checks the pagemaps of shared memory against its sizes.
func (s *Set) checkSegments(sizes map[uint64]uint64) error {
	for _, id := range sorted(s.SharedMemory) {
		file, p := kindShmem.name(id), s.SharedMemory[id]
		if p == nil {
			return damaged(file, -1, "it has no content")
		}
		size, ok := sizes[id]
		if !ok {
			return damaged(file, -1, "no mapping and no memfd refers to it")
		}
		whole := &vma.VmaEntry{Start: new(uint64), End: &size}
		if err := checkPagemap(file, p, []*vma.VmaEntry{whole}); err != nil {
			return err
		}
	}
	return nil
}

// checkPagemap checks that the ranges ascend, and that each lies within
// mappings. A range may reach over several mappings that touch.
func checkPagemap(file string, p *Pagemap, vmas []*vma.VmaEntry) error {
	var before uint64
	at := 0
	for i, e := range p.Entries {
		r, flags := pageRange(e), e.GetFlags()
		switch {
		case r.start%pageSize() != 0 || r.start > addressLimit:
			return damaged(file, i+1, "%s is not the address of a page", address(r.start))
		case r.start == r.end:
			return damaged(file, i+1, "a range of no pages")
		case r.start < before:
			return damaged(file, i+1, "%s is below the end of the range before it", address(r.start))
		case flags&PageInParent != 0:
			return &Error{File: file, Entry: i + 1, Err: ErrParent}
		case flags&PagePresent == 0:
			return unsupported(file, "entry %d: the pages were left with the dumped process", i+1)
		}
		before = r.end
		for r.start < r.end {
			for at < len(vmas) && roundUp(vmas[at].GetEnd()) <= r.start {
				at++
			}
			if at == len(vmas) || vmas[at].GetStart() > r.start {
				return damaged(file, i+1, "the page at %s is outside all mappings", address(r.start))
			}
			r.start = roundUp(vmas[at].GetEnd())
		}
	}
	return nil
}

// span is a range of addresses.
type span struct{ start, end uint64 }

// pageRange is the range of a pagemap entry.
func pageRange(e *pagemap.PagemapEntry) span {
	return span{e.GetVaddr(), e.GetVaddr() + uint64(e.GetNrPages())*pageSize()}
}

// roundUp goes up to the end of the page: memfds may have any size.
func roundUp(n uint64) uint64 {
	over := n % pageSize()
	if over == 0 || n > addressLimit {
		return n
	}
	return n + pageSize() - over
}

// checkPages compares the pages images, given by their sizes, with the pagemaps:
// each belongs to one pagemap and is exactly as long as that says. One without
// any pages may be missing.
func (s *Set) checkPages(sizes map[uint32]int64) error {
	users := make(map[uint32]string)
	check := func(file string, p *Pagemap) error {
		pages := kindPages.name(uint64(p.PagesID))
		if other, taken := users[p.PagesID]; taken {
			return damaged(pages, -1, "both %s and %s say that it is theirs", other, file)
		}
		users[p.PagesID] = file
		if want := p.Pages() * pageSize(); uint64(sizes[p.PagesID]) != want {
			return damaged(pages, -1, "it has %d bytes, but %s needs %d", sizes[p.PagesID], file, want)
		}
		return nil
	}
	for _, pid := range s.PIDs() {
		if p := s.Process[pid]; p.Pagemap != nil {
			if err := check(kindPagemap.name(uint64(pid)), p.Pagemap); err != nil {
				return err
			}
		}
	}
	for _, id := range sorted(s.SharedMemory) {
		if err := check(kindShmem.name(id), s.SharedMemory[id]); err != nil {
			return err
		}
	}
	for _, id := range sorted(sizes) {
		if users[id] == "" {
			return damaged(kindPages.name(uint64(id)), -1, "no pagemap refers to it")
		}
	}
	return nil
}

// fileTypes returns the type of each file by its id.
func (s *Set) fileTypes() map[uint32]fdinfo.FdTypes {
	types := make(map[uint32]fdinfo.FdTypes, len(s.Files))
	for _, f := range s.Files {
		types[f.GetId()] = f.GetType()
	}
	return types
}
