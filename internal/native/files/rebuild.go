// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// Rebuild opens the files of a dump anew. The order of calls is NewRebuild,
// UseTerminal for a shell job, UseTimeNamespaces, OpenAll, TakeTerminal for every session leader
// while the processes are made, then Install for every process, Arm for every
// process, Close. On an error of any of them nothing is left to be undone but
// Close, and the death of the processes.
type Rebuild struct {
	set    *criuimg.Set
	dir    *os.File // The image directory; the caller's.
	index  *index
	notes  notebook
	fds    map[uint32]int   // Crtime's own descriptor of each open file, by id.
	extra  map[openedAs]int // What Open gave out.
	ghosts map[uint32]int   // O_PATH descriptors of deleted files, by file id.

	complete bool // All files are open, the late ones too.

	// process is where install and arm may put what their calls point to, while
	// one of them runs.
	process runner
}

// runner is what this package needs of a remote.Runner.
type runner interface {
	Run(calls []remote.Call) error
	Alloc(n int) (uint64, error)
	Write(addr uint64, p []byte) error
	Reset()
	PID() int
}

// openedAs is a file and how it was opened.
type openedAs struct{ id, flags uint32 }

// NewRebuild prepares the restore of a set that Check accepted. dir is the image
// directory, which must stay open until Close.
func NewRebuild(s *criuimg.Set, dir *os.File) (*Rebuild, error) {
	x, err := newIndex(s)
	if err != nil {
		return nil, err
	}
	return &Rebuild{
		set: s, dir: dir, index: x, notes: notebook{},
		fds: map[uint32]int{}, extra: map[openedAs]int{}, ghosts: map[uint32]int{},
	}, nil
}

// OpenAll opens every file that some process has a descriptor of, but for those
// that belong to the processes themselves.
func (r *Rebuild) OpenAll() error {
	for _, e := range r.held() {
		if !r.isLate(e) {
			if err := r.open(e); err != nil {
				return err
			}
		}
	}
	for _, e := range r.held() {
		fd, ok := r.fds[e.GetId()]
		if !ok {
			continue
		}
		if s, ok := kindFor(e.GetType()).(settler); ok {
			if err := s.settle(r, e, fd); err != nil {
				return fmt.Errorf("restore the state of %s: %w", r.describe(e), err)
			}
		}
		if err := r.lock(e.GetId(), fd); err != nil {
			return fmt.Errorf("lock %s: %w", r.describe(e), err)
		}
	}
	return nil
}

// open opens a file, unless it was opened together with an earlier one.
func (r *Rebuild) open(e *fdinfo.FileEntry) error {
	if _, ok := r.fds[e.GetId()]; ok {
		return nil
	}
	fd, err := kindFor(e.GetType()).open(r, e)
	if err != nil {
		return fmt.Errorf("open %s again: %w", r.describe(e), hint(err))
	}
	r.put(e.GetId(), fd)
	return nil
}

// isLate reports whether a file can be opened only when the processes exist.
func (r *Rebuild) isLate(e *fdinfo.FileEntry) bool {
	l, ok := kindFor(e.GetType()).(lateKind)
	return ok && l.late(r, e)
}

// openLate opens what OpenAll left out.
func (r *Rebuild) openLate() error {
	if r.complete {
		return nil
	}
	for _, e := range r.held() {
		if err := r.open(e); err != nil {
			return err
		}
	}
	r.complete = true
	return nil
}

// held lists the files that some process has a descriptor of, in their order in
// the image.
func (r *Rebuild) held() []*fdinfo.FileEntry {
	var list []*fdinfo.FileEntry
	for _, e := range r.set.Files {
		if _, ok := r.index.holders[e.GetId()]; ok {
			list = append(list, e)
		}
	}
	return list
}

// put notes crtime's own descriptor of a file, which Close will close.
func (r *Rebuild) put(id uint32, fd int) { r.fds[id] = fd }

// describe names a file in errors: what it is and who has it.
func (r *Rebuild) describe(e *fdinfo.FileEntry) string {
	text := strings.ToLower(e.GetType().String())
	switch {
	case e.GetReg() != nil:
		text = e.GetReg().GetName()
	case e.GetTty() != nil:
		text = r.index.terminalPath(e)
	}
	if h, ok := r.index.holders[e.GetId()]; ok {
		return fmt.Sprintf("%s (descriptor %d of process %d)", text, h.fd, h.pid)
	}
	return text
}

// Open opens a file for a mapping, or as the program of a process. flags are
// those of open(2), which are recorded with the mapping. The descriptor is
// crtime's own, with CLOEXEC, and belongs to Rebuild until Close; asking for the
// same again returns the same. It has no position to rely on.
func (r *Rebuild) Open(id, flags uint32) (int, error) {
	key := openedAs{id: id, flags: flags}
	if fd, ok := r.extra[key]; ok {
		return fd, nil
	}
	e := r.index.files[id]
	var fd int
	var err error
	switch {
	case e.GetReg() != nil:
		fd, err = r.openRegular(e.GetReg(), flags)
	case e.GetMemfd() != nil:
		fd, err = r.openMemfd(e.GetMemfd(), flags)
	default:
		err = fmt.Errorf("%w: there is no file with id %d that could be mapped", criuimg.ErrDamaged, id)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", r.describe(e), hint(err))
	}
	r.extra[key] = fd
	return fd, nil
}

// Close closes crtime's descriptors. The processes keep theirs.
func (r *Rebuild) Close() error {
	errs := []error{closeAll(r.fds), closeAll(r.extra), closeAll(r.ghosts)}
	for _, note := range r.notes {
		if c, ok := note.(closer); ok {
			errs = append(errs, c.close())
		}
	}
	r.fds, r.extra, r.ghosts, r.notes = nil, nil, nil, nil
	return errors.Join(errs...)
}

// closer is a note that holds descriptors.
type closer interface{ close() error }

// ownerOf returns the owner that an entry records; nil: its kind has none.
func ownerOf(e *fdinfo.FileEntry) *fown.FownEntry {
	m := body(e)
	if m == nil {
		return nil
	}
	field := m.Descriptor().Fields().ByName("fown")
	if field == nil || !m.Has(field) {
		return nil
	}
	owner, _ := m.Get(field).Message().Interface().(*fown.FownEntry)
	return owner
}
