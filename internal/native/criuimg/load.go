// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crtime/crtime/internal/image"
)

// Load reads the images of a dump and checks them: each file's form, all that
// Check does, and that the pages images are exactly as long as the pagemaps say.
// Only im.Dir is used.
//
// Every error that is due to the images is ErrDamaged or ErrUnsupported, and
// names the file.
func Load(im *image.Images) (*Set, error) {
	s, err := load(directory(im.Dir))
	if err != nil {
		return nil, fmt.Errorf("images in %s: %w", im.Dir, err)
	}
	return s, nil
}

// load does the work of Load for a directory's files.
func load(files fs.FS) (*Set, error) {
	x := newParts(files)
	pages, err := x.readDir()
	if err != nil {
		return nil, err
	}
	if err := x.assemble(); err != nil {
		return nil, err
	}
	if err := x.set.checkPages(pages); err != nil {
		return nil, err
	}
	return x.set, nil
}

// readDir reads every image of the directory, and returns the sizes of those
// with pages by their ids.
func (x *parts) readDir() (pages map[uint32]int64, err error) {
	entries, err := fs.ReadDir(x.files, ".")
	if err != nil {
		return nil, err
	}
	pages = make(map[uint32]int64)
	var framed []imageFile
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) || ours(e.Name()) {
			continue
		}
		k, id := kindOf(e.Name())
		switch {
		case k == nil:
			return nil, stranger(e.Name())
		case !e.Type().IsRegular():
			// Among others a FIFO, whose opening would wait for ever.
			return nil, damaged(e.Name(), -1, "it is not a regular file")
		case k != &kindPages:
			framed = append(framed, imageFile{e.Name(), k, id})
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		pages[uint32(id)] = info.Size()
	}
	return pages, x.readAll(framed)
}

// imageFile is one file that has a frame.
type imageFile struct {
	name string
	kind *kind
	id   uint64
}

// readAll reads files by all cores. Of several errors it returns that of the
// first file, whichever came first.
func (x *parts) readAll(all []imageFile) error {
	var next atomic.Int64
	errs := make([]error, len(all))
	var work sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				errs[i] = x.readFile(all[i])
			}
		})
	}
	work.Wait()
	return cmp.Or(errs...)
}

// ours reports whether an image is one of crtime's own, which no engine reads.
func ours(name string) bool { return strings.HasPrefix(name, "crtime-") }

// kindOf returns the kind of an image file; nil: none that is known here.
func kindOf(name string) (*kind, uint64) {
	for _, k := range kinds() {
		if id, ok := k.match(name); ok {
			return k, id
		}
	}
	return nil, 0
}

// readFile reads one image file.
func (x *parts) readFile(i imageFile) error {
	f, err := x.files.Open(i.name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, ok := f.(io.ReaderAt)
	if !ok || !info.Mode().IsRegular() {
		return damaged(i.name, -1, "it is not a regular file")
	}
	return x.read(i.kind, i.id, newSource(i.name, r, info.Size()))
}

// read reads one image.
func (x *parts) read(k *kind, id uint64, src *source) error {
	if err := src.magic(k.magic); err != nil {
		return err
	}
	return k.read(x, id, src)
}

// assemble gives every part to the process that it belongs to, and checks the
// set. What is left over was changed after the dump: nothing in a dump is
// without an owner.
func (x *parts) assemble() error {
	if x.shmem.all != nil {
		x.set.SharedMemory = x.shmem.all
	}
	if x.ghost.all != nil {
		x.set.Ghost = x.ghost.all
	}
	for id, e := range x.timens.all {
		if x.set.TimeNS != nil {
			return unsupported(kindTimeNS.name(uint64(max(id, x.set.TimeNSID))), "the tree is in more than one time namespace")
		}
		x.set.TimeNS, x.set.TimeNSID = e, id
	}
	for _, e := range x.set.Tree {
		pid := e.GetPid()
		if x.set.Process[pid] != nil {
			return damaged(kindTree.name(0), -1, "there are two processes %d", pid)
		}
		p := &Process{Core: x.core.all[pid], IDs: x.ids.all[pid], MM: x.mm.all[pid], FS: x.fs.all[pid], Pagemap: x.pagemap.all[pid]}
		if p.IDs != nil {
			p.Fdinfo = x.fdinfo.all[p.IDs.GetFilesId()]
		}
		x.set.Process[pid] = p
		if p.Zombie() {
			// CRIU writes whatever its memory held as a zombie's one thread.
			e.Threads = []uint32{pid}
		}
		for _, tid := range e.GetThreads() {
			if core := x.core.all[tid]; core != nil && tid != pid {
				p.addThread(tid, core)
			}
		}
	}
	if err := x.leftOver(); err != nil {
		return err
	}
	return x.set.Check()
}

// leftOver looks for images that belong to no process of pstree.img.
func (x *parts) leftOver() error {
	files := make(map[uint32]bool)
	for pid, p := range x.set.Process {
		delete(x.core.all, pid)
		delete(x.ids.all, pid)
		delete(x.mm.all, pid)
		delete(x.fs.all, pid)
		delete(x.pagemap.all, pid)
		files[p.IDs.GetFilesId()] = p.IDs != nil
		for tid := range p.Threads {
			delete(x.core.all, tid)
		}
	}
	maps.DeleteFunc(x.fdinfo.all, func(id uint32, _ []*fdinfoEntry) bool { return files[id] })
	return errors.Join(
		ownerless(&kindCore, x.core.all), ownerless(&kindIDs, x.ids.all), ownerless(&kindMM, x.mm.all),
		ownerless(&kindFS, x.fs.all), ownerless(&kindPagemap, x.pagemap.all), ownerless(&kindFdinfo, x.fdinfo.all))
}

// ownerless is an error for the first of what is left over.
func ownerless[T any](k *kind, left map[uint32]T) error {
	if len(left) == 0 {
		return nil
	}
	id := slices.Min(slices.Collect(maps.Keys(left)))
	return damaged(k.name(uint64(id)), -1, "it belongs to no process of %s", kindTree.name(0))
}
