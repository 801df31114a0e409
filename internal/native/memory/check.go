// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
)

// ErrImages says that the images contradict themselves. Nothing can be rebuilt
// from them: take the images from where they were copied from.
var ErrImages = errors.New("the memory images are not consistent")

// hints are advices that change nothing a program can see but speed. A kernel
// that was built without one of them says EINVAL.
const hints = 1<<unix.MADV_RANDOM | 1<<unix.MADV_SEQUENTIAL | 1<<unix.MADV_MERGEABLE |
	1<<unix.MADV_HUGEPAGE | 1<<unix.MADV_NOHUGEPAGE

// advices are all that an image may ask for: the ones that stay with a mapping.
// Others, MADV_DONTNEED before all, would do something to its contents.
const advices = hints | 1<<unix.MADV_DONTFORK | 1<<unix.MADV_DONTDUMP | 1<<unix.MADV_WIPEONFORK

// Check says whether the memory of every process can be rebuilt from the images
// on this machine. It makes nothing. An error wraps engine.ErrUnsupported if the
// native engine cannot rebuild something, and ErrImages if the images are wrong.
func Check(s *criuimg.Set) error {
	spaces, err := spacesOf(s)
	if err != nil {
		return err
	}
	if _, err := sharedOf(s, spaces); err != nil {
		return err
	}
	_, err = Area(s, 1<<20)
	return err
}

// supported refuses kinds of mappings that are not rebuilt.
func supported(e *vma.VmaEntry) error {
	status := e.GetStatus()
	for _, no := range []struct {
		bit  uint32
		what string
	}{
		{statusSysVIPC, "System V shared memory"},
		{statusSocket, "a packet socket's ring"},
		{statusAIORing, "a ring of asynchronous I/O (io_setup)"},
		{statusShadowStack, "a shadow stack"},
		{statusPlugin, "a device that a plugin of CRIU restores"},
	} {
		if status&no.bit != 0 {
			return fmt.Errorf("%s: %w; restore with --engine criu", no.what, engine.ErrUnsupported)
		}
	}
	if e.GetFlags()&unix.MAP_HUGETLB != 0 {
		return fmt.Errorf("memory of hugetlb pages: %w; restore with --engine criu", engine.ErrUnsupported)
	}
	if more := e.GetMadv() &^ advices; more != 0 {
		return fmt.Errorf("madvise flags %#x: %w; restore with --engine criu", more, engine.ErrUnsupported)
	}
	if _, err := residentRuns(e); err != nil {
		return fmt.Errorf("%w: %w", err, ErrImages)
	}
	if err := checkPolicy(e); err != nil {
		return err
	}
	return consistent(e)
}

// consistent compares what a mapping is said to be with how it is mapped.
func consistent(e *vma.VmaEntry) error {
	const kinds = statusFilePrivate | statusFileShared | statusAnonShared | statusAnonPrivate
	flags, status := e.GetFlags(), e.GetStatus()
	switch kind := status & kinds; {
	case status&statusRegular == 0 || kind == 0 || kind&(kind-1) != 0:
		return fmt.Errorf("status %#x is no one kind of memory: %w", status, ErrImages)
	case private(e) != own(e):
		return fmt.Errorf("status %#x does not go with the mmap flags %#x: %w", status, flags, ErrImages)
	case kind == statusAnonPrivate && flags&unix.MAP_ANONYMOUS == 0,
		mapsFile(e) && flags&unix.MAP_ANONYMOUS != 0:
		return fmt.Errorf("status %#x does not go with the mmap flags %#x: %w", status, flags, ErrImages)
	case e.GetProt()&^uint32(unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC) != 0:
		return fmt.Errorf("protection %#x is none that mmap knows: %w", e.GetProt(), ErrImages)
	case e.GetPgoff()+spanOf(e).size() < e.GetPgoff():
		return fmt.Errorf("it begins at byte %d of its file, behind all that a file can have: %w", e.GetPgoff(), ErrImages)
	case e.GetPgoff()%pageSize != 0:
		return fmt.Errorf("it begins at byte %d of its file, which is no whole page: %w", e.GetPgoff(), ErrImages)
	}
	return nil
}

// own says that a mapping is mapped as one whose pages belong to its process.
func own(e *vma.VmaEntry) bool {
	switch e.GetFlags() & unix.MAP_TYPE {
	case unix.MAP_PRIVATE:
		return true
	case mapDroppable:
		return anonymous(e)
	default:
		return false
	}
}
