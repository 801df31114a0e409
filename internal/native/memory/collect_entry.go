// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/maps"
)

// mapFlags are the mmap flags that a mapping keeps, as VmFlags show them.
var mapFlags = []struct { //nolint:gochecknoglobals // A table that is never changed.
	word maps.Flags
	flag uint32
}{
	{maps.FlagGrowsDown, unix.MAP_GROWSDOWN},
	{maps.FlagLocked, unix.MAP_LOCKED},
	{maps.FlagLockOnFault, lockOnFault},
	{maps.FlagNoReserve, unix.MAP_NORESERVE},
	{maps.FlagDroppable, mapDroppable},
}

// advice is what madvise set on a mapping, as VmFlags show it. In the images an
// advice is the bit of its number.
var advice = []struct { //nolint:gochecknoglobals // A table that is never changed.
	word maps.Flags
	flag uint
}{
	{maps.FlagSequential, unix.MADV_SEQUENTIAL},
	{maps.FlagRandom, unix.MADV_RANDOM},
	{maps.FlagDontCopy, unix.MADV_DONTFORK},
	{maps.FlagDontDump, unix.MADV_DONTDUMP},
	{maps.FlagMergeable, unix.MADV_MERGEABLE},
	{maps.FlagHugePage, unix.MADV_HUGEPAGE},
	{maps.FlagNoHugePage, unix.MADV_NOHUGEPAGE},
	{maps.FlagWipeOnFork, unix.MADV_WIPEONFORK},
}

// mapDroppable is MAP_DROPPABLE of the kernel's uapi/linux/mman.h: a third type
// of mapping beside MAP_SHARED and MAP_PRIVATE.
const mapDroppable = 0x08

// fileKey tells mapped files apart without a system call.
type fileKey struct {
	major, minor uint32
	inode        uint64
	path         string
}

// addRegion appends the entry of a mapping to a process's mm image.
func (c *collector) addRegion(pid int, m *mm.MmEntry, r region) error {
	e := entryOf(r)
	if n := len(m.Vmas); e.GetStatus()&statusVVAR != 0 && n > 0 && m.Vmas[n-1].GetStatus()&statusVVAR != 0 && m.Vmas[n-1].GetEnd() == r.Start {
		// [vvar] and [vvar_vclock] are one entry in the images.
		m.Vmas[n-1].End = e.End
		return nil
	}
	switch {
	case mapsFile(e):
		id, err := c.file(pid, r)
		if err != nil {
			return err
		}
		e.Shmid = proto.Uint64(uint64(id))
	case e.GetStatus()&statusAnonShared != 0:
		e.Shmid = proto.Uint64(r.Inode)
		c.addShared(r)
	}
	m.Vmas = append(m.Vmas, e)
	return nil
}

// file numbers the file behind a mapping.
func (c *collector) file(pid int, r region) (uint32, error) {
	key := fileKey{r.Major, r.Minor, r.Inode, r.Path}
	if id, ok := c.ids[key]; ok {
		return id, nil
	}
	// How it is to be opened stands in the mapping's entry, as fdflags.
	id, err := c.files.Regular(pid, r.link, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	c.ids[key] = id
	return id, nil
}

// entryOf describes a mapping as CRIU does (parse_smaps of its proc_parse.c).
// The number of what is behind it is left at 0.
func entryOf(r region) *vma.VmaEntry {
	e := &vma.VmaEntry{
		Start: proto.Uint64(r.Start), End: proto.Uint64(r.End), Pgoff: proto.Uint64(r.Offset),
		Shmid: proto.Uint64(0), Prot: proto.Uint32(protOf(r.Perms)), Fd: proto.Int64(-1),
		Flags: proto.Uint32(flagsOf(r)), Status: proto.Uint32(statusOf(r)),
	}
	var madv uint64
	for _, a := range advice {
		if r.Flags.Has(a.word) {
			madv |= 1 << a.flag
		}
	}
	if madv != 0 {
		e.Madv = proto.Uint64(madv)
	}
	if r.link != "" {
		e.Fdflags = proto.Uint32(r.access)
	}
	return e
}

func protOf(p maps.Perms) (prot uint32) {
	for _, x := range []struct {
		perm maps.Perms
		prot uint32
	}{{maps.PermRead, unix.PROT_READ}, {maps.PermWrite, unix.PROT_WRITE}, {maps.PermExec, unix.PROT_EXEC}} {
		if p&x.perm != 0 {
			prot |= x.prot
		}
	}
	return prot
}

// flagsOf is the flags that mmap was, or might have been, called with.
func flagsOf(r region) uint32 {
	var flags uint32
	switch {
	case r.Shared():
		flags = unix.MAP_SHARED
	case !r.Flags.Has(maps.FlagDroppable):
		flags = unix.MAP_PRIVATE
	}
	if !r.File() || r.sharedAnonymous() {
		flags |= unix.MAP_ANONYMOUS
	}
	for _, f := range mapFlags {
		if r.Flags.Has(f.word) {
			flags |= f.flag
		}
	}
	return flags
}

// statusOf is the kind of a mapping.
func statusOf(r region) uint32 {
	status := uint32(statusRegular)
	switch {
	case r.Special() && strings.HasPrefix(r.Path, "[vvar"):
		status |= statusVVAR
	case r.Special() && r.Path == "[vdso]":
		status |= statusVDSO
	case r.Special():
		status = statusVsyscall
	case r.Path == "[heap]":
		status |= statusHeap
	}
	switch {
	case r.sharedAnonymous():
		return status | statusAnonShared
	case !r.File():
		return status | statusAnonPrivate
	case r.ofSharedMemory():
		status |= statusMemfd
	}
	if r.Shared() {
		return status | statusFileShared
	}
	return status | statusFilePrivate
}
