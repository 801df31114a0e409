// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
)

// source is where a mapping that is not anonymous gets its pages from.
type source struct {
	shared bool   // An object of anonymous mappings, not a file.
	id     uint64 // Of the object, or of the file in files.img.
	flags  uint32 // How the file is opened.
}

func sourceOf(e *vma.VmaEntry) source {
	if !mapsFile(e) {
		return source{shared: true, id: e.GetShmid()}
	}
	from := source{id: e.GetShmid(), flags: e.GetFdflags()}
	if e.Fdflags == nil && e.GetStatus()&statusFileShared != 0 && e.GetProt()&unix.PROT_WRITE != 0 {
		from.flags = unix.O_RDWR
	}
	return from
}

// open gives a descriptor of crtime's own for a source. It is not the caller's.
func (r *Rebuild) open(from source) (int, error) {
	if !from.shared {
		fd, err := r.opener.Open(uint32(from.id), from.flags)
		if err != nil {
			return -1, fmt.Errorf("open file %d: %w", from.id, err)
		}
		return fd, nil
	}
	if f := r.shared[from.id]; f != nil {
		return int(f.Fd()), nil
	}
	for _, o := range r.objects {
		if o.id == from.id {
			f, err := newShared(o.size)
			if err != nil {
				return -1, fmt.Errorf("shared memory %d: %w", o.id, err)
			}
			r.shared[o.id] = f
			return int(f.Fd()), nil
		}
	}
	return -1, fmt.Errorf("shared memory %d: %w", from.id, ErrImages)
}

// newShared makes an object as mmap(MAP_SHARED|MAP_ANONYMOUS) does. No call
// returns it as a file, but a mapping of it in crtime's own process can be
// opened, and outlives the mapping so.
func newShared(size uint64) (*os.File, error) {
	m, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("make %d bytes of it: %w", size, err)
	}
	defer func() { _ = unix.Munmap(m) }()
	start := addressOf(m)
	path := fmt.Sprintf("/proc/self/map_files/%x-%x", start, start+uint64(len(m)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (the kernel lets nobody do this without CAP_CHECKPOINT_RESTORE)", err)
	}
	return f, nil
}
