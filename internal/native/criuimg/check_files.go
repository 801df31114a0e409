// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
)

// fdLimit is the largest value of the kernel's nr_open.
const fdLimit = 1<<31 - 64

// identified is what the messages of all types of files have in common.
type identified interface{ GetId() uint32 }

// detail returns the message of the file's own type, and whether there is one.
func detail(f *fdinfo.FileEntry) (identified, bool) {
	switch f.GetType() {
	case fdinfo.FdTypes_REG:
		return f.Reg, f.Reg != nil
	case fdinfo.FdTypes_PIPE:
		return f.Pipe, f.Pipe != nil
	case fdinfo.FdTypes_FIFO:
		return f.Fifo, f.Fifo != nil
	case fdinfo.FdTypes_INETSK:
		return f.Isk, f.Isk != nil
	case fdinfo.FdTypes_UNIXSK:
		return f.Usk, f.Usk != nil
	case fdinfo.FdTypes_EVENTFD:
		return f.Efd, f.Efd != nil
	case fdinfo.FdTypes_EVENTPOLL:
		return f.Epfd, f.Epfd != nil
	case fdinfo.FdTypes_INOTIFY:
		return f.Ify, f.Ify != nil
	case fdinfo.FdTypes_SIGNALFD:
		return f.Sgfd, f.Sgfd != nil
	case fdinfo.FdTypes_PACKETSK:
		return f.Psk, f.Psk != nil
	case fdinfo.FdTypes_TTY:
		return f.Tty, f.Tty != nil
	case fdinfo.FdTypes_FANOTIFY:
		return f.Ffy, f.Ffy != nil
	case fdinfo.FdTypes_NETLINKSK:
		return f.Nlsk, f.Nlsk != nil
	case fdinfo.FdTypes_NS:
		return f.Nsf, f.Nsf != nil
	case fdinfo.FdTypes_TUNF:
		return f.Tunf, f.Tunf != nil
	case fdinfo.FdTypes_EXT:
		return f.Ext, f.Ext != nil
	case fdinfo.FdTypes_TIMERFD:
		return f.Tfd, f.Tfd != nil
	case fdinfo.FdTypes_MEMFD:
		return f.Memfd, f.Memfd != nil
	case fdinfo.FdTypes_BPFMAP:
		return f.Bpf, f.Bpf != nil
	default:
		return nil, false
	}
}

// pidfdType is FdTypes of a pidfd, which go-criu does not know yet.
const pidfdType fdinfo.FdTypes = 20

// checkFiles checks files.img.
func (s *Set) checkFiles() error {
	file := kindFiles.name(0)
	seen := make(map[uint32]bool, len(s.Files))
	for i, f := range s.Files {
		if f.GetType() == pidfdType {
			return unsupported(file, "file %d is a pidfd", f.GetId())
		}
		own, ok := detail(f)
		switch {
		case !ok:
			return damaged(file, i, "it is of type %s, but says nothing about such a file", f.GetType())
		case own.GetId() != f.GetId():
			return damaged(file, i, "it has the id %d, and inside %d", f.GetId(), own.GetId())
		case f.GetId() == 0 || seen[f.GetId()]:
			return damaged(file, i, "the id %d is used twice, or 0", f.GetId())
		}
		seen[f.GetId()] = true
	}
	inodes, err := s.checkMemfds()
	if err != nil {
		return err
	}
	terminals, err := s.checkTerminals()
	if err != nil {
		return err
	}
	types := s.fileTypes()
	for i, f := range s.Files {
		switch {
		case f.GetType() == fdinfo.FdTypes_MEMFD && !inodes[f.Memfd.GetInodeId()]:
			return unknown(file, i, "memfd", f.Memfd.GetInodeId())
		case f.GetType() == fdinfo.FdTypes_TTY && !terminals[f.Tty.GetTtyInfoId()]:
			return unknown(file, i, "terminal", f.Tty.GetTtyInfoId())
		case f.GetType() == fdinfo.FdTypes_TTY && f.Tty.RegfId != nil && types[f.Tty.GetRegfId()] != fdinfo.FdTypes_REG:
			return unknown(file, i, "regular file", f.Tty.GetRegfId())
		case f.GetType() == fdinfo.FdTypes_FIFO && f.Fifo.RegfId != nil && types[f.Fifo.GetRegfId()] != fdinfo.FdTypes_REG:
			return unknown(file, i, "regular file", f.Fifo.GetRegfId())
		}
	}
	return s.checkRemaps(types)
}

// checkMemfds checks memfd.img, and returns the ids in it.
func (s *Set) checkMemfds() (inodes map[uint32]bool, err error) {
	file := kindMemfd.name(0)
	inodes = make(map[uint32]bool)
	for i, m := range s.Memfd {
		if m.GetInodeId() > 1<<32-1 || inodes[uint32(m.GetInodeId())] {
			return nil, damaged(file, i, "the id %d is used twice, or too large", m.GetInodeId())
		}
		inodes[uint32(m.GetInodeId())] = true
		if m.GetSize() > maxFileSize {
			return nil, damaged(file, i, "it has %d bytes", m.GetSize())
		}
		if m.GetSize() > 0 && s.SharedMemory[uint64(m.GetShmid())] == nil {
			return nil, unknown(file, i, "shared memory", m.GetShmid())
		}
	}
	return inodes, nil
}

// checkTerminals checks tty-data.img, and returns the ids of tty-info.img.
func (s *Set) checkTerminals() (terminals map[uint32]bool, err error) {
	terminals = make(map[uint32]bool)
	for _, t := range s.TTYInfo {
		terminals[t.GetId()] = true
	}
	for i, d := range s.TTYData {
		if !terminals[d.GetTtyId()] {
			return nil, unknown(kindTTYData.name(0), i, "terminal", d.GetTtyId())
		}
	}
	return terminals, nil
}

// checkRemaps checks what stands for files without a name.
func (s *Set) checkRemaps(types map[uint32]fdinfo.FdTypes) error {
	file := kindRemap.name(0)
	for i, r := range s.Remap {
		if _, ok := types[r.GetOrigId()]; !ok {
			return unknown(file, i, "file", r.GetOrigId())
		}
		switch r.GetRemapType() {
		case remap_file_path.RemapType_LINKED:
			if _, ok := types[r.GetRemapId()]; !ok || r.RemapType == nil {
				return unknown(file, i, "file", r.GetRemapId())
			}
		case remap_file_path.RemapType_GHOST:
			if s.Ghost[r.GetRemapId()] == nil {
				return unknown(file, i, "ghost file", r.GetRemapId())
			}
		case remap_file_path.RemapType_PROCFS:
		default:
			return damaged(file, i, "unknown type %d", r.GetRemapType())
		}
	}
	for _, id := range sorted(s.Ghost) {
		g, name := s.Ghost[id], kindGhost.name(uint64(id))
		switch {
		case g == nil || g.Entry == nil:
			return damaged(name, -1, "it has no content")
		case g.Entry.GetChunks() && (g.Entry.Size == nil || int64(g.Entry.GetSize()) != g.Size):
			return damaged(name, 0, "it says it has %d bytes, but has %d", g.Entry.GetSize(), g.Size)
		case g.regular() && g.Content == nil && (g.Size > 0 || len(g.Chunks) > 0):
			return damaged(name, 0, "its content is missing")
		}
	}
	return nil
}

// checkTables checks the descriptors, and the directories of the processes.
func (s *Set) checkTables() error {
	types := s.fileTypes()
	for _, pid := range s.PIDs() {
		p := s.Process[pid]
		if p.Zombie() {
			continue
		}
		if types[p.FS.GetCwdId()] != fdinfo.FdTypes_REG {
			return unknown(kindFS.name(uint64(pid)), 0, "working directory", p.FS.GetCwdId())
		}
		if types[p.FS.GetRootId()] != fdinfo.FdTypes_REG {
			return unknown(kindFS.name(uint64(pid)), 0, "root directory", p.FS.GetRootId())
		}
		file := kindFdinfo.name(uint64(p.IDs.GetFilesId()))
		seen := make(map[uint32]bool, len(p.Fdinfo))
		for i, d := range p.Fdinfo {
			t, ok := types[d.GetId()]
			switch {
			case !ok:
				return unknown(file, i, "file", d.GetId())
			case t != d.GetType():
				return damaged(file, i, "it says that file %d is of type %s, which %s says is %s", d.GetId(), d.GetType(), kindFiles.name(0), t)
			case d.GetFd() > fdLimit || seen[d.GetFd()]:
				return damaged(file, i, "descriptor %d is used twice, or out of range", d.GetFd())
			}
			seen[d.GetFd()] = true
		}
	}
	return nil
}

// checkData checks the owners of pipe data, packets and locks.
func (s *Set) checkData() error {
	pipes, fifos, sockets := make(map[uint32]bool), make(map[uint32]bool), make(map[uint32]bool)
	types := s.fileTypes()
	for _, f := range s.Files {
		switch f.GetType() {
		case fdinfo.FdTypes_PIPE:
			pipes[f.Pipe.GetPipeId()] = true
		case fdinfo.FdTypes_FIFO:
			fifos[f.Fifo.GetPipeId()] = true
		case fdinfo.FdTypes_UNIXSK:
			sockets[f.GetId()] = true
		default:
		}
	}
	if err := checkContents(&kindPipeData, s.PipeData, pipes); err != nil {
		return err
	}
	if err := checkContents(&kindFIFOData, s.FIFOData, fifos); err != nil {
		return err
	}
	for i, p := range s.SocketQueue {
		file := kindQueue.name(0)
		if !sockets[p.Entry.GetIdFor()] {
			return unknown(file, i, "UNIX socket", p.Entry.GetIdFor())
		}
		for _, scm := range p.Entry.GetScm() {
			for _, id := range scm.GetRights() {
				if _, ok := types[id]; !ok {
					return unknown(file, i, "file", id)
				}
			}
		}
	}
	for i, l := range s.FileLock {
		if l.GetPid() < 0 || s.Process[uint32(l.GetPid())] == nil {
			return unknown(kindFileLock.name(0), i, "process", l.GetPid())
		}
	}
	return nil
}

// checkContents checks the data of pipes: one for each that exists.
func checkContents(k *kind, all []*PipeData, pipes map[uint32]bool) error {
	seen := make(map[uint32]bool)
	for i, p := range all {
		id := p.Entry.GetPipeId()
		if !pipes[id] {
			return unknown(k.name(0), i, "pipe", id)
		}
		if seen[id] {
			return damaged(k.name(0), i, "there is more than one content of pipe %d", id)
		}
		seen[id] = true
	}
	return nil
}
