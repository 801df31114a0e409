// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"math"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// index finds things in the images of a dump.
type index struct {
	set     *criuimg.Set
	files   map[uint32]*fdinfo.FileEntry // By id.
	holders map[uint32]holder            // By file id: the first descriptor of each file.
	remaps  map[uint32]*remap_file_path.RemapFilePathEntry
	memfds  map[uint32]*memfd.MemfdInodeEntry
	pipes   map[uint32][]*fdinfo.FileEntry // By pipe id: all ends.
	// What was in pipes and FIFOs, by pipe id; of several the first counts.
	pipeData, fifoData map[uint32]*criuimg.PipeData
	locks              map[uint32][]*file_lock.FileLockEntry
	ttys               map[uint32]*tty.TtyInfoEntry
	sockets            map[uint32]*sk_unix.UnixSkEntry // Those that some process has, by inode.
	tables             map[holder]*fdinfo.FdinfoEntry
	nesting            map[uint32]int // How deep epoll instances hold others, by file id; 0 while it is being found out.
}

// holder is a descriptor of a process.
type holder struct {
	pid uint32
	fd  uint32
}

// newIndex makes the index of a set, and refuses one whose parts do not fit
// together.
func newIndex(s *criuimg.Set) (*index, error) {
	x := &index{
		set:      s,
		files:    make(map[uint32]*fdinfo.FileEntry, len(s.Files)),
		holders:  make(map[uint32]holder, len(s.Files)),
		remaps:   make(map[uint32]*remap_file_path.RemapFilePathEntry, len(s.Remap)),
		memfds:   make(map[uint32]*memfd.MemfdInodeEntry, len(s.Memfd)),
		pipes:    map[uint32][]*fdinfo.FileEntry{},
		pipeData: byPipe(s.PipeData),
		fifoData: byPipe(s.FIFOData),
		locks:    map[uint32][]*file_lock.FileLockEntry{},
		ttys:     make(map[uint32]*tty.TtyInfoEntry, len(s.TTYInfo)),
		sockets:  map[uint32]*sk_unix.UnixSkEntry{},
		tables:   map[holder]*fdinfo.FdinfoEntry{},
		nesting:  map[uint32]int{},
	}
	for _, e := range s.Files {
		id := e.GetId()
		if x.files[id] != nil {
			return nil, fmt.Errorf("files.img: %w: there are two files with id %d", criuimg.ErrDamaged, id)
		}
		if err := checkBody(e); err != nil {
			return nil, fmt.Errorf("files.img: %w", err)
		}
		x.files[id] = e
		if p := e.GetPipe(); p != nil {
			x.pipes[p.GetPipeId()] = append(x.pipes[p.GetPipeId()], e)
		}
	}
	for _, e := range s.Memfd {
		x.memfds[uint32(e.GetInodeId())] = e
	}
	for _, e := range s.TTYInfo {
		x.ttys[e.GetId()] = e
	}
	for _, e := range s.Remap {
		x.remaps[e.GetOrigId()] = e
	}
	for _, pid := range s.PIDs() {
		if err := x.process(pid); err != nil {
			return nil, fmt.Errorf("descriptors of process %d: %w", pid, err)
		}
	}
	return x, x.noteLocks()
}

// byPipe sorts the contents of pipes by the pipes' ids.
func byPipe(list []*criuimg.PipeData) map[uint32]*criuimg.PipeData {
	m := make(map[uint32]*criuimg.PipeData, len(list))
	for _, p := range list {
		if id := p.Entry.GetPipeId(); m[id] == nil {
			m[id] = p
		}
	}
	return m
}

// process notes the descriptors of one process.
func (x *index) process(pid uint32) error {
	p := x.set.Process[pid]
	if p == nil {
		return nil
	}
	for _, e := range p.Fdinfo {
		file := x.files[e.GetId()]
		switch {
		case file == nil:
			return fmt.Errorf("descriptor %d: %w: there is no file with id %d", e.GetFd(), criuimg.ErrDamaged, e.GetId())
		case file.GetType() != e.GetType():
			return fmt.Errorf("descriptor %d: %w: file %d is of type %s, not %s",
				e.GetFd(), criuimg.ErrDamaged, e.GetId(), file.GetType(), e.GetType())
		case x.tables[holder{pid, e.GetFd()}] != nil:
			return fmt.Errorf("%w: there are two descriptors %d", criuimg.ErrDamaged, e.GetFd())
		case e.GetFd() > maxDescriptor:
			return fmt.Errorf("%w: no process can have a descriptor %d", criuimg.ErrDamaged, e.GetFd())
		case e.GetFlags()&^fdCloexec != 0:
			return fmt.Errorf("%w: descriptor %d has the flags %#x", criuimg.ErrDamaged, e.GetFd(), e.GetFlags())
		}
		x.tables[holder{pid, e.GetFd()}] = e
		if _, ok := x.holders[e.GetId()]; ok {
			continue
		}
		x.holders[e.GetId()] = holder{pid: pid, fd: e.GetFd()}
		if s := file.GetUsk(); s != nil {
			if x.sockets[s.GetIno()] != nil {
				return fmt.Errorf("%w: there are two sockets %d", criuimg.ErrDamaged, s.GetIno())
			}
			x.sockets[s.GetIno()] = s
		}
	}
	return nil
}

// maxDescriptor is above what a process can have: fs.nr_open has this ceiling
// on 64-bit machines (sysctl_nr_open_max in the kernel's fs/file.c).
const maxDescriptor = 0x7fffffc0

// fileAt returns the file behind a descriptor; nil: there is none.
func (x *index) fileAt(pid, fd uint32) *fdinfo.FileEntry {
	e := x.tables[holder{pid, fd}]
	if e == nil {
		return nil
	}
	return x.files[e.GetId()]
}

// noteLocks sorts the locks by what they belong to: the process for POSIX
// locks, the file for all others.
func (x *index) noteLocks() error {
	for i, l := range x.set.FileLock {
		file := x.fileAt(uint32(l.GetPid()), uint32(l.GetFd()))
		if l.GetPid() < 0 || l.GetFd() < 0 || file == nil {
			return fmt.Errorf("filelocks.img: entry %d: %w: process %d has no descriptor %d",
				i, criuimg.ErrDamaged, l.GetPid(), l.GetFd())
		}
		switch l.GetFlag() {
		case lockPOSIX, lockOFD:
		case lockFlock:
			const mandatory = 32 // LOCK_MAND, gone since Linux 5.15.
			if l.GetType()&mandatory != 0 {
				return fmt.Errorf("filelocks.img: entry %d: %w: a mandatory lock", i, criuimg.ErrUnsupported)
			}
		default:
			return fmt.Errorf("filelocks.img: entry %d: %w: a lock of sort %d (a lease?)", i, criuimg.ErrUnsupported, l.GetFlag())
		}
		// Of a lease that is being broken the type is another: see the sort first.
		if l.GetType() != unix.F_RDLCK && l.GetType() != unix.F_WRLCK && l.GetFlag() != lockFlock {
			return fmt.Errorf("filelocks.img: entry %d: %w: a lock of type %d", i, criuimg.ErrDamaged, l.GetType())
		}
		if l.GetStart() < 0 || l.GetLen() < 0 || l.GetStart() > math.MaxInt64-l.GetLen() {
			return fmt.Errorf("filelocks.img: entry %d: %w: a range of %d bytes at %d", i, criuimg.ErrDamaged, l.GetLen(), l.GetStart())
		}
		x.locks[file.GetId()] = append(x.locks[file.GetId()], l)
	}
	return nil
}
