// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// Write checks the set and writes every image but those with pages, which must
// be complete by then: a dump that could not be restored fails here. It fills in
// the lengths of pipe data and packets, changes nothing else of the set, and
// leaves the pages alone.
func (s *Set) Write(st *image.Staging) error {
	s.setLengths()
	err := s.Check()
	if err == nil {
		err = s.checkPagesIn(st.Path())
	}
	if err != nil {
		return fmt.Errorf("the images would not be fit for a restore: %w", err)
	}
	return s.encode(staged{st})
}

// setLengths says in the messages how much data follows them.
func (s *Set) setLengths() {
	for _, d := range slices.Concat(s.PipeData, s.FIFOData) {
		d.Entry.Bytes = proto.Uint32(uint32(len(d.Data)))
	}
	for _, p := range s.SocketQueue {
		p.Entry.Length = proto.Uint32(uint32(len(p.Data)))
	}
}

// encode writes every image but those with pages.
func (s *Set) encode(to folder) error {
	w := &writer{to: to}
	s.writeTree(w)
	s.writeFiles(w)
	s.writeData(w)
	for _, id := range sorted(s.Ghost) {
		w.ghost(id, s.Ghost[id])
	}
	return w.err
}

// writeTree writes the images of the processes.
func (s *Set) writeTree(w *writer) {
	one(w, &kindInventory, 0, s.Inventory)
	list(w, &kindTree, 0, s.Tree)
	tables := make(map[uint32][]*fdinfoEntry)
	for _, pid := range s.PIDs() {
		p, id := s.Process[pid], uint64(pid)
		one(w, &kindCore, id, p.Core)
		if p.Zombie() {
			continue
		}
		for _, tid := range sorted(p.Threads) {
			one(w, &kindCore, uint64(tid), p.Threads[tid])
		}
		one(w, &kindIDs, id, p.IDs)
		one(w, &kindMM, id, p.MM)
		one(w, &kindFS, id, p.FS)
		w.pagemap(&kindPagemap, id, p.Pagemap)
		tables[p.IDs.GetFilesId()] = p.Fdinfo
	}
	for _, id := range sorted(tables) {
		list(w, &kindFdinfo, uint64(id), tables[id])
	}
	one(w, &kindSeccomp, 0, s.Seccomp)
	one(w, &kindCgroup, 0, s.Cgroup)
	one(w, &kindTimeNS, uint64(s.TimeNSID), s.TimeNS)
}

// writeFiles writes the images of open files that consist of messages alone.
func (s *Set) writeFiles(w *writer) {
	list(w, &kindFiles, 0, s.Files)
	list(w, &kindRemap, 0, s.Remap)
	list(w, &kindMemfd, 0, s.Memfd)
	list(w, &kindTTYInfo, 0, s.TTYInfo)
	list(w, &kindTTYData, 0, s.TTYData)
	list(w, &kindFileLock, 0, s.FileLock)
	for _, id := range sorted(s.SharedMemory) {
		w.pagemap(&kindShmem, id, s.SharedMemory[id])
	}
}

// writeData writes the images with data between their messages.
func (s *Set) writeData(w *writer) {
	w.contents(&kindPipeData, s.PipeData)
	w.contents(&kindFIFOData, s.FIFOData)
	if len(s.SocketQueue) == 0 {
		return
	}
	out := newSink(&kindQueue)
	for _, p := range s.SocketQueue {
		out.put(p.Entry)
		out.raw(p.Data)
	}
	w.file(&kindQueue, 0, out)
}

// folder is where images go.
type folder interface {
	WriteFile(name string, data []byte) error
	Create(name string) (io.WriteCloser, error)
}

// staged is a directory that is being written: small images are vouched for.
type staged struct{ *image.Staging }

// Create makes a file that is written piece by piece.
func (d staged) Create(name string) (io.WriteCloser, error) {
	return onDisk(d.Path()).Create(name)
}

// onDisk is a directory.
type onDisk string

// WriteFile writes a file in one piece.
func (d onDisk) WriteFile(name string, data []byte) error {
	return os.WriteFile(filepath.Join(string(d), name), data, 0o600)
}

// Create makes a file that is written piece by piece.
func (d onDisk) Create(name string) (io.WriteCloser, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// writer puts files into a folder. The first error stays.
type writer struct {
	to  folder
	err error
}

// file writes one file.
func (w *writer) file(k *kind, id uint64, s *sink) {
	if w.err != nil {
		return
	}
	if w.err = s.err; w.err == nil {
		w.err = w.to.WriteFile(k.name(id), s.buf)
	}
	if w.err != nil {
		w.err = fmt.Errorf("%s: %w", k.name(id), w.err)
	}
}

// one writes a file that holds one message; nil: no file.
func one[T any, M message[T]](w *writer, k *kind, id uint64, m M) {
	if m == nil {
		return
	}
	s := newSink(k)
	s.put(m)
	w.file(k, id, s)
}

// list writes a file of messages of one type; none: no file.
func list[T any, M message[T]](w *writer, k *kind, id uint64, all []M) {
	if len(all) == 0 {
		return
	}
	s := newSink(k)
	for _, m := range all {
		s.put(m)
	}
	w.file(k, id, s)
}

// pagemap writes a pagemap, which may have no entries.
func (w *writer) pagemap(k *kind, id uint64, p *Pagemap) {
	s := newSink(k)
	s.put(&pagemap.PagemapHead{PagesId: proto.Uint32(p.PagesID)})
	for _, e := range p.Entries {
		s.put(e)
	}
	w.file(k, id, s)
}

// contents writes the data of pipes.
func (w *writer) contents(k *kind, all []*PipeData) {
	if len(all) == 0 {
		return
	}
	s := newSink(k)
	for _, p := range all {
		s.put(p.Entry)
		s.raw(p.Data)
	}
	w.file(k, 0, s)
}

// ghost writes one ghost file.
func (w *writer) ghost(id uint32, g *Ghost) {
	if w.err != nil {
		return
	}
	name := kindGhost.name(uint64(id))
	f, err := w.to.Create(name)
	if err == nil {
		err = writeGhost(f, g)
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		w.err = fmt.Errorf("%s: %w", name, err)
	}
}

// checkPagesIn is checkPages for the files of a directory.
func (s *Set) checkPagesIn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	sizes := make(map[uint32]int64)
	for _, e := range entries {
		if id, ok := kindPages.match(e.Name()); ok && strings.HasSuffix(e.Name(), suffix) {
			info, err := e.Info()
			if err != nil {
				return err
			}
			sizes[uint32(id)] = info.Size()
		}
	}
	return s.checkPages(sizes)
}

// sorted returns the keys of a map in ascending order, so that equal sets become
// equal files.
func sorted[K uint32 | uint64, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
