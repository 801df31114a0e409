// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// area is an entry of a mapping, given by its first page and their number.
func area(at [2]uint64, prot, flags, status uint32) *vma.VmaEntry {
	return &vma.VmaEntry{
		Start: proto.Uint64(at[0] * pageSize), End: proto.Uint64((at[0] + at[1]) * pageSize), Pgoff: proto.Uint64(0), Shmid: proto.Uint64(0),
		Prot: proto.Uint32(prot), Flags: proto.Uint32(flags), Status: proto.Uint32(status), Fd: proto.Int64(-1),
	}
}

const (
	rw          = unix.PROT_READ | unix.PROT_WRITE
	anonPrivate = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
)

// anon is private anonymous memory.
func anon(start, pages uint64) *vma.VmaEntry {
	return area([2]uint64{start, pages}, rw, anonPrivate, statusRegular|statusAnonPrivate)
}

// pages is a pagemap of ranges, each given by its first page and their number.
func pages(id uint32, ranges ...[2]uint64) *criuimg.Pagemap {
	m := &criuimg.Pagemap{PagesID: id}
	for _, r := range ranges {
		m.Entries = append(m.Entries, &pagemap.PagemapEntry{
			Vaddr: proto.Uint64(r[0] * pageSize), NrPages: proto.Uint32(uint32(r[1])), Flags: proto.Uint32(criuimg.PagePresent),
		})
	}
	return m
}

// family is a set of a parent and a child with every kind of mapping.
func family() *criuimg.Set {
	s := criuimg.NewSet()
	const parent, child = 10, 11
	for i, pid := range []uint32{parent, child} {
		s.Tree = append(s.Tree, &pstree.PstreeEntry{Pid: proto.Uint32(pid), Ppid: proto.Uint32(uint32(i) * parent)})
		s.Process[pid] = &criuimg.Process{}
	}
	file := area([2]uint64{0x400, 8}, unix.PROT_READ, unix.MAP_PRIVATE, statusRegular|statusFilePrivate)
	file.Shmid = proto.Uint64(1)
	shared := area([2]uint64{0x500, 4}, rw, unix.MAP_SHARED|unix.MAP_ANONYMOUS, statusRegular|statusAnonShared)
	shared.Shmid = proto.Uint64(77)
	mem := area([2]uint64{0x510, 4}, rw, unix.MAP_SHARED, statusRegular|statusFileShared|statusMemfd)
	mem.Shmid = proto.Uint64(2)
	stack := area([2]uint64{0x7000, 16}, rw, anonPrivate|unix.MAP_GROWSDOWN, statusRegular|statusAnonPrivate)
	locked := area([2]uint64{0x600, 4}, unix.PROT_NONE, anonPrivate|unix.MAP_LOCKED, statusRegular|statusAnonPrivate)
	advised := anon(0x620, 4)
	advised.Madv = proto.Uint64(1<<unix.MADV_DONTFORK | 1<<unix.MADV_HUGEPAGE)
	guard := area([2]uint64{0x101, 2}, 0, 0, statusGuard)
	entries := []*vma.VmaEntry{
		anon(0x100, 16), area([2]uint64{0x200, 300}, unix.PROT_READ, anonPrivate, statusRegular|statusAnonPrivate), file, shared, mem, locked, advised, stack,
		area([2]uint64{0x8000, 4}, unix.PROT_READ, anonPrivate, statusRegular|statusVVAR|statusAnonPrivate),
		area([2]uint64{0x8004, 2}, unix.PROT_READ|unix.PROT_EXEC, anonPrivate, statusRegular|statusVDSO|statusAnonPrivate),
		area([2]uint64{0xffffffffff600, 1}, unix.PROT_EXEC, anonPrivate, statusVsyscall|statusAnonPrivate), guard,
	}
	for pid, p := range s.Process {
		p.MM = &mm.MmEntry{ExeFileId: proto.Uint32(1), MmSavedAuxv: []uint64{6, 4096, 0, 0}}
		for _, e := range entries {
			p.MM.Vmas = append(p.MM.Vmas, proto.CloneOf(e))
		}
		p.Pagemap = pages(pid, [2]uint64{0x100, 1}, [2]uint64{0x104, 5}, [2]uint64{0x200, 280}, [2]uint64{0x402, 1}, [2]uint64{0x700c, 4}, [2]uint64{0x8004, 2})
	}
	second := s.Process[child]
	second.MM.Vmas[0].End = proto.Uint64(0x118 * pageSize) // A heap that has grown.
	second.MM.Vmas[7].Start = proto.Uint64(0x6ff0 * pageSize)
	second.Pagemap = pages(child, [2]uint64{0x104, 2}, [2]uint64{0x10f, 4}, [2]uint64{0x200, 100}, [2]uint64{0x700a, 6}, [2]uint64{0x8004, 2})
	s.Files = []*fdinfo.FileEntry{
		{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(1)},
		{Type: fdinfo.FdTypes_MEMFD.Enum(), Id: proto.Uint32(2), Memfd: &memfd.MemfdFileEntry{InodeId: proto.Uint32(1)}},
	}
	s.Memfd = []*memfd.MemfdInodeEntry{{InodeId: proto.Uint64(1), Shmid: proto.Uint32(88), Size: proto.Uint64(3*pageSize + 5)}}
	s.SharedMemory[77] = pages(20, [2]uint64{1, 2})
	s.SharedMemory[88] = pages(21, [2]uint64{0, 4})
	return s
}
