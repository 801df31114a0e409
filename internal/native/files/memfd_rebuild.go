// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

func (memfdKind) check(x *index, e *fdinfo.FileEntry) error {
	inode := x.memfds[e.GetMemfd().GetInodeId()]
	switch {
	case inode == nil:
		return fmt.Errorf("%w: there is no memory file %d", criuimg.ErrDamaged, e.GetMemfd().GetInodeId())
	case inode.GetHugetlbFlag() != 0:
		return fmt.Errorf("%w: a memory file of huge pages", criuimg.ErrUnsupported)
	case int64(inode.GetSize()) < 0:
		return fmt.Errorf("%w: a memory file of %d bytes", criuimg.ErrDamaged, inode.GetSize())
	default:
		return nil
	}
}

// newMemfds is the memory files that a restore has made, by inode id.
type newMemfds struct {
	files  map[uint32]*os.File
	asMade map[uint32]bool // Some descriptor is the one that memfd_create gave.
}

func (m *newMemfds) close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files = nil
	return errors.Join(errs...)
}

func (memfdKind) open(r *Rebuild, e *fdinfo.FileEntry) (int, error) {
	m := e.GetMemfd()
	f, err := r.memfd(m.GetInodeId())
	if err != nil {
		return -1, err
	}
	fd, err := r.memfdEnd(f, m)
	if err != nil {
		return -1, err
	}
	if _, err := unix.Seek(fd, int64(m.GetPos()), unix.SEEK_SET); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("go to position %d: %w", int64(m.GetPos()), err)
	}
	return fd, nil
}

// memfdEnd opens a memory file with the recorded flags. The first descriptor
// for reading and writing is the one that memfd_create gave, because the kernel
// executes no memory file that is open for writing otherwise.
func (r *Rebuild) memfdEnd(f *os.File, m *memfd.MemfdFileEntry) (int, error) {
	note := noteOf[newMemfds](r.notes)
	if m.GetFlags()&unix.O_ACCMODE != unix.O_RDWR || note.asMade[m.GetInodeId()] {
		return reopen(int(f.Fd()), m.GetFlags())
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, int(m.GetFlags()&statusFlags)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set the flags %#o: %w", m.GetFlags(), err)
	}
	if note.asMade == nil {
		note.asMade = map[uint32]bool{}
	}
	note.asMade[m.GetInodeId()] = true
	return fd, nil
}

// openMemfd opens a memory file for a mapping.
func (r *Rebuild) openMemfd(m *memfd.MemfdFileEntry, flags uint32) (int, error) {
	f, err := r.memfd(m.GetInodeId())
	if err != nil {
		return -1, err
	}
	return reopen(int(f.Fd()), flags)
}

// memfd returns a memory file, made with its size but no contents and no seals
// when it is asked for first.
func (r *Rebuild) memfd(id uint32) (*os.File, error) {
	note := noteOf[newMemfds](r.notes)
	if f, ok := note.files[id]; ok {
		return f, nil
	}
	e := r.index.memfds[id]
	if e == nil {
		return nil, fmt.Errorf("%w: there is no memory file %d", criuimg.ErrDamaged, id)
	}
	flags := unix.MFD_CLOEXEC
	if e.GetSeals() != unix.F_SEAL_SEAL {
		flags |= unix.MFD_ALLOW_SEALING
	}
	// The system may make memory files not executable by default. Linux before
	// 6.3 does not know the flag, nor that default.
	fd, err := unix.MemfdCreate(e.GetName(), flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(e.GetName(), flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make the memory file %q: %w", e.GetName(), err)
	}
	f := os.NewFile(uintptr(fd), "memfd "+e.GetName())
	if err := dressMemfd(f, e); err != nil {
		f.Close()
		return nil, err
	}
	if note.files == nil {
		note.files = map[uint32]*os.File{}
	}
	note.files[id] = f
	return f, nil
}

// dressMemfd gives a new memory file its size, owner and mode.
func dressMemfd(f *os.File, e *memfd.MemfdInodeEntry) error {
	if err := f.Truncate(int64(e.GetSize())); err != nil {
		return fmt.Errorf("give the memory file %q its size: %w", e.GetName(), err)
	}
	if err := f.Chown(int(e.GetUid()), int(e.GetGid())); err != nil {
		return fmt.Errorf("give the memory file %q its owner: %w", e.GetName(), err)
	}
	if mode, ok := memfdMode(e); ok {
		if err := unix.Fchmod(int(f.Fd()), mode&permissions); err != nil {
			return fmt.Errorf("give the memory file %q its mode: %w", e.GetName(), err)
		}
	}
	return nil
}

// Memfds makes every memory file of the images and lists them, for whoever
// fills them with their contents. They have no seals yet: see Seal.
func (r *Rebuild) Memfds() ([]Memfd, error) {
	list := make([]Memfd, 0, len(r.set.Memfd))
	for _, e := range r.set.Memfd {
		f, err := r.memfd(uint32(e.GetInodeId()))
		if err != nil {
			return nil, err
		}
		list = append(list, Memfd{ShmID: e.GetShmid(), Size: int64(e.GetSize()), File: f})
	}
	return list, nil
}

// Seal seals the memory files. It comes after their contents are written and
// every mapping is made, both of which a seal may forbid.
func (r *Rebuild) Seal() error {
	note := noteOf[newMemfds](r.notes)
	for id, e := range r.index.memfds {
		f, made := note.files[id]
		if !made || e.GetSeals() == 0 || e.GetSeals() == unix.F_SEAL_SEAL {
			continue
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, int(e.GetSeals())); err != nil {
			return fmt.Errorf("seal the memory file %q: %w", e.GetName(), err)
		}
	}
	return nil
}
