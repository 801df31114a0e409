// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/seccomp"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
)

// The readers of the kinds of image files, one for each. They check the form of
// the file; what it says is for Check.

func readInventory(x *parts, _ uint64, src *source) (err error) {
	x.set.Inventory, err = readOne[inventory.InventoryEntry](src)
	return err
}

func readTree(x *parts, _ uint64, src *source) (err error) {
	x.set.Tree, err = readAll[pstree.PstreeEntry](src)
	return err
}

func readCore(x *parts, tid uint64, src *source) error {
	e, err := readOne[criu_core.CoreEntry](src)
	return x.core.put(uint32(tid), e, err)
}

func readIDs(x *parts, pid uint64, src *source) error {
	e, err := readOne[criu_core.TaskKobjIdsEntry](src)
	return x.ids.put(uint32(pid), e, err)
}

func readMM(x *parts, pid uint64, src *source) error {
	e, err := readOne[mm.MmEntry](src)
	return x.mm.put(uint32(pid), e, err)
}

func readFS(x *parts, pid uint64, src *source) error {
	e, err := readOne[fs.FsEntry](src)
	return x.fs.put(uint32(pid), e, err)
}

func readFdinfo(x *parts, id uint64, src *source) error {
	e, err := readAll[fdinfo.FdinfoEntry](src)
	return x.fdinfo.put(uint32(id), e, err)
}

func readFiles(x *parts, _ uint64, src *source) (err error) {
	x.set.Files, err = readAll[fdinfo.FileEntry](src)
	return err
}

func readRemap(x *parts, _ uint64, src *source) (err error) {
	x.set.Remap, err = readAll[remap_file_path.RemapFilePathEntry](src)
	return err
}

func readMemfd(x *parts, _ uint64, src *source) (err error) {
	x.set.Memfd, err = readAll[memfd.MemfdInodeEntry](src)
	return err
}

func readTTYInfo(x *parts, _ uint64, src *source) (err error) {
	x.set.TTYInfo, err = readAll[tty.TtyInfoEntry](src)
	return err
}

func readTTYData(x *parts, _ uint64, src *source) (err error) {
	x.set.TTYData, err = readAll[tty.TtyDataEntry](src)
	return err
}

func readFileLock(x *parts, _ uint64, src *source) (err error) {
	x.set.FileLock, err = readAll[file_lock.FileLockEntry](src)
	return err
}

func readSeccomp(x *parts, _ uint64, src *source) (err error) {
	x.set.Seccomp, err = readOne[seccomp.SeccompEntry](src)
	return err
}

func readCgroup(x *parts, _ uint64, src *source) (err error) {
	x.set.Cgroup, err = readOne[cgroup.CgroupEntry](src)
	return err
}

func readTimeNS(x *parts, id uint64, src *source) error {
	e, err := readOne[timens.TimensEntry](src)
	return x.timens.put(uint32(id), e, err)
}

func readPagemap(x *parts, pid uint64, src *source) error {
	p, err := readPages(src)
	return x.pagemap.put(uint32(pid), p, err)
}

func readShmem(x *parts, id uint64, src *source) error {
	p, err := readPages(src)
	return x.shmem.put(id, p, err)
}

// readPages reads a pagemap: a head, then the entries.
func readPages(src *source) (*Pagemap, error) {
	head, err := readFirst[pagemap.PagemapHead](src)
	if err != nil {
		return nil, err
	}
	p := &Pagemap{PagesID: head.GetPagesId()}
	var slab []pagemap.PagemapEntry
	for {
		// There may be millions of entries: they are allocated by the hundred.
		if len(slab) == 0 {
			slab = make([]pagemap.PagemapEntry, min(256, src.left()/minPagemapEntry+1))
		}
		e := &slab[0]
		more, err := src.next(e)
		if err != nil || !more {
			return p, err
		}
		slab = slab[1:]
		if err := normalise(src, e); err != nil {
			return nil, err
		}
		p.Entries = append(p.Entries, e)
	}
}

func readPipeData(x *parts, _ uint64, src *source) (err error) {
	x.set.PipeData, err = readContents(src)
	return err
}

func readFIFOData(x *parts, _ uint64, src *source) (err error) {
	x.set.FIFOData, err = readContents(src)
	return err
}

// readContents reads the contents of pipes, each behind its message.
func readContents(src *source) ([]*PipeData, error) {
	var all []*PipeData
	for {
		p := &PipeData{Entry: new(pipe_data.PipeDataEntry)}
		more, err := src.next(p.Entry)
		if err != nil || !more {
			return all, err
		}
		if p.Data, err = src.payload(uint64(p.Entry.GetBytes())); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// readQueue reads the messages that wait in UNIX sockets.
func readQueue(x *parts, _ uint64, src *source) error {
	for {
		p := &Packet{Entry: new(sk_packet.SkPacketEntry)}
		more, err := src.next(p.Entry)
		if err != nil || !more {
			return err
		}
		if p.Data, err = src.payload(uint64(p.Entry.GetLength())); err != nil {
			return err
		}
		x.set.SocketQueue = append(x.set.SocketQueue, p)
	}
}
