// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventpoll"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fifo"
	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fsnotify"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/ns"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/signalfd"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// number shortens the making of messages.
func number(n uint32) *uint32 { return &n }

// Ids of files in sample, which are the descriptors of process 100 as well.
const (
	sampleRegular  = 1
	sampleGhost    = 2
	sampleReader   = 3
	sampleWriter   = 4
	sampleEvents   = 5
	sampleSignals  = 6
	sampleTimer    = 7
	sampleEpoll    = 8
	sampleOuter    = 9 // Watches sampleEpoll.
	sampleInotify  = 10
	sampleSocket   = 11
	samplePeer     = 12
	sampleListener = 13
	sampleMemfd    = 14
	sampleMaster   = 15
	sampleSlave    = 16
	sampleNet      = 17
	sampleFIFO     = 18
	sampleHeld     = 18 // The last that has a descriptor.
	samplePath     = 19 // Of the FIFO.
	samplePTMX     = 20
	samplePTS      = 21
	sampleRoot     = 22
	sampleLinked   = 23
)

func regularEntry(name string) *fdinfo.FileEntry {
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: &regfile.RegFileEntry{
		Flags: number(0), Pos: proto.Uint64(0), Fown: noOwner(), Name: &name,
	}}
}

// sample is a set with a file of every kind, that Check accepts.
func sample() *criuimg.Set {
	s := criuimg.NewSet()
	add := func(id uint32, e *fdinfo.FileEntry) {
		setID(e, id)
		s.Files = append(s.Files, e)
	}
	add(sampleRegular, regularEntry("/tmp/file"))
	add(sampleGhost, regularEntry("/tmp/gone"))
	add(sampleReader, &fdinfo.FileEntry{Type: fdinfo.FdTypes_PIPE.Enum(), Pipe: &pipe.PipeEntry{PipeId: number(77), Flags: number(0), Fown: noOwner()}})
	add(sampleWriter, &fdinfo.FileEntry{Type: fdinfo.FdTypes_PIPE.Enum(), Pipe: &pipe.PipeEntry{PipeId: number(77), Flags: number(1), Fown: noOwner()}})
	add(sampleEvents, &fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTFD.Enum(), Efd: &eventfd.EventfdFileEntry{Flags: number(2), Fown: noOwner(), Counter: proto.Uint64(3)}})
	add(sampleSignals, &fdinfo.FileEntry{Type: fdinfo.FdTypes_SIGNALFD.Enum(), Sgfd: &signalfd.SignalfdEntry{Flags: number(2), Fown: noOwner(), Sigmask: proto.Uint64(1)}})
	add(sampleTimer, &fdinfo.FileEntry{Type: fdinfo.FdTypes_TIMERFD.Enum(), Tfd: &timerfd.TimerfdEntry{
		Clockid: number(1), Flags: number(2), Fown: noOwner(), Ticks: proto.Uint64(0), SettimeFlags: number(0),
		Vsec: proto.Uint64(1), Vnsec: proto.Uint64(2), Isec: proto.Uint64(3), Insec: proto.Uint64(4),
	}})
	add(sampleEpoll, epollEntry(sampleEvents, sampleReader))
	add(sampleOuter, epollEntry(sampleEpoll))
	add(sampleInotify, &fdinfo.FileEntry{Type: fdinfo.FdTypes_INOTIFY.Enum(), Ify: &fsnotify.InotifyFileEntry{
		Flags: number(0), Fown: noOwner(), Wd: []*fsnotify.InotifyWdEntry{{
			Id: number(0), IIno: proto.Uint64(1), Mask: number(2), IgnoredMask: number(0), SDev: number(3), Wd: number(1),
			FHandle: &fh.FhEntry{Bytes: number(8), Type: number(1), Handle: []uint64{5}},
		}},
	}})
	add(sampleSocket, socketEntry(201, 202, stateEstablished, ""))
	add(samplePeer, socketEntry(202, 201, stateEstablished, ""))
	add(sampleListener, socketEntry(203, 0, stateListen, "\x00name"))
	add(sampleMemfd, &fdinfo.FileEntry{Type: fdinfo.FdTypes_MEMFD.Enum(), Memfd: &memfd.MemfdFileEntry{
		Flags: number(2), Pos: proto.Uint64(0), Fown: noOwner(), InodeId: number(1),
	}})
	add(sampleMaster, ttyEntry(1, samplePTMX))
	add(sampleSlave, ttyEntry(0, samplePTS))
	add(sampleNet, &fdinfo.FileEntry{Type: fdinfo.FdTypes_NS.Enum(), Nsf: &ns.NsFileEntry{NsId: number(102), NsCflag: number(unix.CLONE_NEWNET), Flags: number(0)}})
	add(sampleFIFO, &fdinfo.FileEntry{Type: fdinfo.FdTypes_FIFO.Enum(), Fifo: &fifo.FifoEntry{PipeId: number(78), RegfId: number(samplePath)}})
	add(samplePath, regularEntry("/tmp/fifo"))
	add(samplePTMX, regularEntry("/dev/ptmx"))
	add(samplePTS, regularEntry("/dev/pts/0"))
	add(sampleRoot, regularEntry("/"))
	add(sampleLinked, regularEntry("/tmp/link_remap.1"))

	s.Ghost[1] = &criuimg.Ghost{Entry: &ghost_file.GhostFileEntry{Uid: number(0), Gid: number(0), Mode: number(unix.S_IFREG)}}
	s.Remap = append(s.Remap, &remap_file_path.RemapFilePathEntry{OrigId: number(sampleGhost), RemapId: number(1), RemapType: remap_file_path.RemapType_GHOST.Enum()})
	s.Memfd = append(s.Memfd, &memfd.MemfdInodeEntry{
		Name: proto.String("x"), Uid: number(0), Gid: number(0), Size: proto.Uint64(1), Shmid: number(1), Seals: number(0), InodeId: proto.Uint64(1),
	})
	s.TTYInfo = append(s.TTYInfo, ttyInfo(1, unix.Mkdev(majorTTYAux, minorPTMX)), ttyInfo(0, unix.Mkdev(majorPTS, 0)))
	s.PipeData = append(s.PipeData, &criuimg.PipeData{Entry: &pipe_data.PipeDataEntry{PipeId: number(77), Bytes: number(2), Size: number(4096)}, Data: []byte("ab")})
	s.FIFOData = append(s.FIFOData, &criuimg.PipeData{Entry: &pipe_data.PipeDataEntry{PipeId: number(78), Bytes: number(0), Size: number(4096)}})
	s.SocketQueue = append(s.SocketQueue, &criuimg.Packet{Entry: &sk_packet.SkPacketEntry{IdFor: number(sampleSocket), Length: number(1)}, Data: []byte("x")})
	s.FileLock = append(s.FileLock, &file_lock.FileLockEntry{
		Flag: number(lockPOSIX), Type: number(unix.F_WRLCK), Pid: proto.Int32(100), Fd: proto.Int32(sampleRegular), Start: proto.Int64(1), Len: proto.Int64(2),
	})
	for i, pid := range []uint32{100, 101} {
		s.Tree = append(s.Tree, &pstree.PstreeEntry{Pid: number(pid), Ppid: number(uint32(i) * 100), Pgid: number(100), Sid: number(100), Threads: []uint32{pid}})
		p := &criuimg.Process{IDs: ids(uint32(i) + 1), FS: &fs.FsEntry{CwdId: number(sampleRoot), RootId: number(sampleRoot)}, Core: &criu_core.CoreEntry{}}
		for _, e := range s.Files[:sampleHeld] {
			p.Fdinfo = append(p.Fdinfo, &fdinfo.FdinfoEntry{Id: number(e.GetId()), Fd: number(e.GetId()), Type: e.Type, Flags: number(0)})
		}
		s.Process[pid] = p
	}
	return s
}

func epollEntry(targets ...uint32) *fdinfo.FileEntry {
	e := &eventpoll.EventpollFileEntry{Flags: number(2), Fown: noOwner()}
	for _, fd := range targets {
		e.Tfd = append(e.Tfd, &eventpoll.EventpollTfdEntry{Id: number(0), Tfd: number(fd), Events: number(1), Data: proto.Uint64(uint64(fd))})
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTPOLL.Enum(), Epfd: e}
}

func socketEntry(ino, peer, state uint32, name string) *fdinfo.FileEntry {
	e := &sk_unix.UnixSkEntry{}
	fillRequired(e.ProtoReflect())
	e.Ino, e.Peer, e.State, e.Type, e.Name = number(ino), number(peer), number(state), number(unix.SOCK_STREAM), []byte(name)
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_UNIXSK.Enum(), Usk: e}
}

func ttyEntry(info, path uint32) *fdinfo.FileEntry {
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_TTY.Enum(), Tty: &tty.TtyFileEntry{TtyInfoId: number(info), RegfId: number(path), Flags: number(2), Fown: noOwner()}}
}

func ttyInfo(id uint32, rdev uint64) *tty.TtyInfoEntry {
	e := &tty.TtyInfoEntry{Type: tty.TtyType_PTY.Enum(), Pty: &tty.TtyPtyEntry{Index: number(0)}}
	fillRequired(e.ProtoReflect())
	e.Id, e.Rdev, e.Type = number(id), number(uint32(rdev)), tty.TtyType_PTY.Enum()
	return e
}

// file returns a file of a set by its id.
func file(s *criuimg.Set, id uint32) *fdinfo.FileEntry {
	for _, e := range s.Files {
		if e.GetId() == id {
			return e
		}
	}
	return nil
}

func TestCheckAccepts(t *testing.T) {
	if err := Check(sample()); err != nil {
		t.Fatal(err)
	}
}

// TestCheckRefuses breaks one thing of a good set at a time.
func TestCheckRefuses(t *testing.T) {
	damaged, unsupported := criuimg.ErrDamaged, criuimg.ErrUnsupported
	for _, test := range []struct {
		name string
		want error
		do   func(s *criuimg.Set)
	}{
		{"a path with ..", damaged, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Name = proto.String("/tmp/../etc/shadow") }},
		{"a relative path", damaged, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Name = proto.String("etc/shadow") }},
		{"an empty path", damaged, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Name = proto.String("") }},
		{"a path with a zero", damaged, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Name = proto.String("/tmp\x00x") }},
		{"a long path", damaged, func(s *criuimg.Set) {
			file(s, sampleRegular).Reg.Name = proto.String("/" + strings.Repeat("x", 5000))
		}},
		{"an external file", unsupported, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Ext = proto.Bool(true) }},
		{"a file of size -1", damaged, func(s *criuimg.Set) { file(s, sampleRegular).Reg.Size = proto.Uint64(1 << 63) }},
		{"two files of one id", damaged, func(s *criuimg.Set) { setID(file(s, sampleRegular), sampleGhost) }},
		{"a descriptor of nothing", damaged, func(s *criuimg.Set) { s.Process[100].Fdinfo[0].Id = number(999) }},
		{"a descriptor of another type", damaged, func(s *criuimg.Set) { s.Process[100].Fdinfo[0].Type = fdinfo.FdTypes_PIPE.Enum() }},
		{"a descriptor twice", damaged, func(s *criuimg.Set) { s.Process[100].Fdinfo[1].Fd = number(1) }},
		{"a descriptor that is too large", damaged, func(s *criuimg.Set) { s.Process[100].Fdinfo[0].Fd = number(1 << 31) }},
		{"unknown descriptor flags", damaged, func(s *criuimg.Set) { s.Process[100].Fdinfo[0].Flags = number(2) }},
		{"an unknown type", unsupported, func(s *criuimg.Set) { changeType(s, fdinfo.FdTypes_INETSK) }},
		{"two messages in one file", damaged, func(s *criuimg.Set) { file(s, sampleEvents).Sgfd = file(s, sampleSignals).Sgfd }},
		{"nothing but a type", damaged, func(s *criuimg.Set) { file(s, sampleEvents).Efd = nil }},
		{"no working directory", damaged, func(s *criuimg.Set) { s.Process[100].FS.CwdId = number(999) }},
		{"a pipe as root", damaged, func(s *criuimg.Set) { s.Process[100].FS.RootId = number(sampleReader) }},
		{"shared descriptors", unsupported, func(s *criuimg.Set) { s.Process[101].IDs.FilesId = number(1) }},
		{"a ghost that is missing", damaged, func(s *criuimg.Set) { delete(s.Ghost, 1) }},
		{"a ghost that is a device", unsupported, func(s *criuimg.Set) { s.Ghost[1].Entry.Mode = number(unix.S_IFBLK) }},
		{"a ghost of a pipe", damaged, func(s *criuimg.Set) { s.Remap[0].OrigId = number(sampleReader) }},
		{"a ghost of a process", unsupported, func(s *criuimg.Set) { s.Remap[0].RemapType = remap_file_path.RemapType_PROCFS.Enum() }},
		{"a link to nothing", damaged, func(s *criuimg.Set) {
			s.Remap[0].RemapType, s.Remap[0].RemapId = remap_file_path.RemapType_LINKED.Enum(), number(999)
		}},
		{"a link to itself", damaged, func(s *criuimg.Set) {
			s.Remap[0].RemapType, s.Remap[0].RemapId = remap_file_path.RemapType_LINKED.Enum(), number(sampleGhost)
		}},
		{"more in a pipe than it holds", damaged, func(s *criuimg.Set) { s.PipeData[0].Entry.Size = number(1) }},
		{"a pipe of 4 GiB", damaged, func(s *criuimg.Set) { s.PipeData[0].Entry.Size = number(1<<32 - 1) }},
		{"packets beyond the end", damaged, func(s *criuimg.Set) { extra.Set(s.PipeData[0].Entry, fieldPackets, 3) }},
		{"packets short of the end", damaged, func(s *criuimg.Set) { extra.Set(s.PipeData[0].Entry, fieldPackets, 1) }},
		{"empty packets", damaged, func(s *criuimg.Set) { extra.Set(s.PipeData[0].Entry, fieldPackets, 0) }},
		{"a counter that has overflowed", damaged, func(s *criuimg.Set) { file(s, sampleEvents).Efd.Counter = proto.Uint64(1<<64 - 1) }},
		{"a timer of too many seconds", damaged, func(s *criuimg.Set) { file(s, sampleTimer).Tfd.Vsec = proto.Uint64(1 << 40) }},
		{"a timer of too many nanoseconds", damaged, func(s *criuimg.Set) { file(s, sampleTimer).Tfd.Insec = proto.Uint64(1e9) }},
		{"a timer on the CPU clock", unsupported, func(s *criuimg.Set) { file(s, sampleTimer).Tfd.Clockid = number(2) }},
		{"an epoll that watches nothing", damaged, func(s *criuimg.Set) { file(s, sampleEpoll).Epfd.Tfd[0].Tfd = number(999) }},
		{"an epoll that watches itself", damaged, func(s *criuimg.Set) { file(s, sampleEpoll).Epfd.Tfd[0].Tfd = number(sampleEpoll) }},
		{"epolls in a circle", damaged, func(s *criuimg.Set) { file(s, sampleEpoll).Epfd.Tfd[0].Tfd = number(sampleOuter) }},
		{"an epoll that watches twice", damaged, func(s *criuimg.Set) { file(s, sampleEpoll).Epfd.Tfd[0].Tfd = number(sampleReader) }},
		{"a watch by an impossible number", damaged, func(s *criuimg.Set) { extra.Set(file(s, sampleEpoll).Epfd.Tfd[0], fieldAddedAs, 1<<40) }},
		{"a watch of a path with ..", damaged, func(s *criuimg.Set) { watch(s).FHandle.Path = proto.String("/a/../b") }},
		{"a watch by a short handle", damaged, func(s *criuimg.Set) { watch(s).FHandle.Bytes = number(9) }},
		{"a watch of nothing", damaged, func(s *criuimg.Set) { watch(s).FHandle = nil }},
		{"a watch with the number -1", damaged, func(s *criuimg.Set) { watch(s).Wd = number(1<<32 - 1) }},
		{"a socket of another type", unsupported, func(s *criuimg.Set) { file(s, sampleListener).Usk.Type = number(3) }},
		{"a socket in another state", unsupported, func(s *criuimg.Set) { file(s, sampleListener).Usk.State = number(2) }},
		{"a peer that is missing", damaged, func(s *criuimg.Set) { file(s, sampleSocket).Usk.Peer = number(999) }},
		{"a peer of another type", damaged, func(s *criuimg.Set) { file(s, sampleSocket).Usk.Type = number(unix.SOCK_DGRAM) }},
		{"a peer that has another", damaged, func(s *criuimg.Set) { file(s, samplePeer).Usk.Peer = number(0) }},
		{"an external socket", unsupported, func(s *criuimg.Set) { file(s, sampleSocket).Usk.Uflags = number(1) }},
		{"two sockets of one inode", damaged, func(s *criuimg.Set) { file(s, sampleListener).Usk.Ino = number(201) }},
		{"an address that is too long", damaged, func(s *criuimg.Set) { file(s, sampleListener).Usk.Name = make([]byte, 109) }},
		{"an address with a zero", damaged, func(s *criuimg.Set) { file(s, sampleListener).Usk.Name = []byte("/a\x00b") }},
		{"an address in no directory", damaged, func(s *criuimg.Set) { file(s, sampleListener).Usk.Name = []byte("name\x00") }},
		{"an address in a directory with ..", damaged, func(s *criuimg.Set) {
			file(s, sampleListener).Usk.Name, file(s, sampleListener).Usk.NameDir = []byte("name\x00"), proto.String("/a/..")
		}},
		{"a message for a pipe", damaged, func(s *criuimg.Set) { s.SocketQueue[0].Entry.IdFor = number(sampleReader) }},
		{"a message with descriptors", unsupported, func(s *criuimg.Set) {
			s.SocketQueue[0].Entry.Scm = []*sk_packet.ScmEntry{{Type: number(1), Rights: []uint32{sampleRegular}}}
		}},
		{"a memory file that is missing", damaged, func(s *criuimg.Set) { s.Memfd = nil }},
		{"a memory file of huge pages", unsupported, func(s *criuimg.Set) { s.Memfd[0].HugetlbFlag = number(1) }},
		{"a memory file of size -1", damaged, func(s *criuimg.Set) { s.Memfd[0].Size = proto.Uint64(1<<64 - 1) }},
		{"a terminal that is missing", damaged, func(s *criuimg.Set) { s.TTYInfo = nil }},
		{"a terminal of another path", damaged, func(s *criuimg.Set) { file(s, samplePTMX).Reg.Name = proto.String("/etc/shadow") }},
		{"a terminal of another number", damaged, func(s *criuimg.Set) { file(s, samplePTS).Reg.Name = proto.String("/dev/pts/1") }},
		{"a terminal with a large number", damaged, func(s *criuimg.Set) { s.TTYInfo[0].Pty.Index = number(1 << 20) }},
		{"a terminal that is a disk", damaged, func(s *criuimg.Set) { s.TTYInfo[0].Rdev = number(0x800) }},
		{"a serial line", unsupported, func(s *criuimg.Set) { s.TTYInfo[0].Type = tty.TtyType_SERIAL.Enum() }},
		{"bytes that wait in a terminal", unsupported, func(s *criuimg.Set) {
			s.TTYData = []*tty.TtyDataEntry{{TtyId: s.TTYInfo[0].Id, Data: []byte("typed")}}
		}},
		{"two masters", damaged, func(s *criuimg.Set) {
			s.TTYInfo[1].Rdev = s.TTYInfo[0].Rdev
			file(s, samplePTS).Reg.Name = proto.String("/dev/ptmx")
		}},
		{"another namespace", unsupported, func(s *criuimg.Set) { file(s, sampleNet).Nsf.NsId = number(1) }},
		{"another sort of namespace", unsupported, func(s *criuimg.Set) { file(s, sampleNet).Nsf.NsCflag = number(unix.CLONE_NEWTIME) }},
		{"a FIFO without a path", damaged, func(s *criuimg.Set) { file(s, sampleFIFO).Fifo.RegfId = number(999) }},
		{"a lock of nothing", damaged, func(s *criuimg.Set) { s.FileLock[0].Fd = proto.Int32(999) }},
		{"a lock of nobody", damaged, func(s *criuimg.Set) { s.FileLock[0].Pid = proto.Int32(-1) }},
		{"a lease", unsupported, func(s *criuimg.Set) { s.FileLock[0].Flag = number(32) }},
		{"a lease that is being broken", unsupported, func(s *criuimg.Set) { s.FileLock[0].Flag, s.FileLock[0].Type = number(8), number(6) }},
		{"a mandatory lock", unsupported, func(s *criuimg.Set) { s.FileLock[0].Flag, s.FileLock[0].Type = number(lockFlock), number(32) }},
		{"a lock of an unknown type", damaged, func(s *criuimg.Set) { s.FileLock[0].Type = number(7) }},
		{"a lock beyond all files", damaged, func(s *criuimg.Set) { s.FileLock[0].Len = proto.Int64(1<<63 - 1) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sample()
			test.do(s)
			if err := Check(s); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// watch is the one inotify watch of a sample.
func watch(s *criuimg.Set) *fsnotify.InotifyWdEntry { return file(s, sampleInotify).Ify.Wd[0] }

// changeType makes the first file one of a type that is not restored.
func changeType(s *criuimg.Set, to fdinfo.FdTypes) {
	s.Files[0].Type = to.Enum()
	for _, p := range s.Process {
		p.Fdinfo[0].Type = to.Enum()
	}
}

// parts are the messages of a set that a fuzz input consists of, each behind its
// sort and length.
func parts(t testing.TB, s *criuimg.Set) []byte {
	t.Helper()
	var out []byte
	put := func(sort byte, m proto.Message) {
		b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = binary.LittleEndian.AppendUint16(append(out, sort), uint16(len(b)))
		out = append(out, b...)
	}
	for _, e := range s.Files {
		put(0, e)
	}
	for i, pid := range s.PIDs() {
		for _, e := range s.Process[pid].Fdinfo {
			put(1+byte(i), e)
		}
	}
	for _, e := range s.Remap {
		put(3, e)
	}
	for _, e := range s.Memfd {
		put(4, e)
	}
	for _, e := range s.TTYInfo {
		put(5, e)
	}
	for _, e := range s.FileLock {
		put(6, e)
	}
	put(7, s.PipeData[0].Entry)
	put(8, s.FIFOData[0].Entry)
	put(9, s.SocketQueue[0].Entry)
	put(10, s.Ghost[1].Entry)
	put(11, s.Process[100].FS)
	return out
}

// assemble is the reverse of parts, for bytes that may be anything.
func assemble(b []byte) *criuimg.Set {
	s := sample()
	s.Files, s.Remap, s.Memfd, s.TTYInfo, s.FileLock, s.PipeData, s.FIFOData, s.SocketQueue = nil, nil, nil, nil, nil, nil, nil, nil
	s.Process[100].Fdinfo, s.Process[101].Fdinfo = nil, nil
	const head = 3
	for len(b) >= head {
		sort, size := b[0], int(binary.LittleEndian.Uint16(b[1:]))
		b = b[head:]
		size = min(size, len(b))
		addPart(s, sort, b[:size])
		b = b[size:]
	}
	return s
}

func addPart(s *criuimg.Set, sort byte, b []byte) {
	read := func(m proto.Message) bool { return proto.Unmarshal(b, m) == nil }
	content := func(n uint32) []byte { return make([]byte, min(n, 1<<16)) }
	switch sort {
	case 0:
		appendIf(&s.Files, read)
	case 1, 2:
		appendIf(&s.Process[99+uint32(sort)].Fdinfo, read)
	case 3:
		appendIf(&s.Remap, read)
	case 4:
		appendIf(&s.Memfd, read)
	case 5:
		appendIf(&s.TTYInfo, read)
	case 6:
		appendIf(&s.FileLock, read)
	case 7, 8:
		p := &criuimg.PipeData{Entry: new(pipe_data.PipeDataEntry)}
		if read(p.Entry) {
			p.Data = content(p.Entry.GetBytes())
			list := map[byte]*[]*criuimg.PipeData{7: &s.PipeData, 8: &s.FIFOData}[sort]
			*list = append(*list, p)
		}
	case 9:
		p := &criuimg.Packet{Entry: new(sk_packet.SkPacketEntry)}
		if read(p.Entry) {
			p.Data = content(p.Entry.GetLength())
			s.SocketQueue = append(s.SocketQueue, p)
		}
	case 10:
		g := &criuimg.Ghost{Entry: new(ghost_file.GhostFileEntry)}
		if read(g.Entry) {
			s.Ghost[1] = g
		}
	case 11:
		if f := new(fs.FsEntry); read(f) {
			s.Process[100].FS = f
		}
	}
}

func appendIf[T any, M interface {
	*T
	proto.Message
}](list *[]M, read func(proto.Message) bool) {
	if m := M(new(T)); read(m) {
		*list = append(*list, m)
	}
}

// FuzzCheck alters the images of files: Check must refuse them, and say why, or
// accept what can be asked for.
func FuzzCheck(f *testing.F) {
	f.Add(parts(f, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := assemble(b)
		err := Check(s)
		if err != nil {
			if !errors.Is(err, criuimg.ErrDamaged) && !errors.Is(err, criuimg.ErrUnsupported) {
				t.Errorf("the error is neither of the two: %v", err)
			}
			return
		}
		r, err := NewRebuild(s, nil)
		if err != nil {
			t.Fatalf("Check accepts what NewRebuild refuses: %v", err)
		}
		for _, e := range r.held() {
			if kindFor(e.GetType()) == nil || r.describe(e) == "" {
				t.Errorf("Check accepts %v, which no kind opens", e)
			}
			r.isLate(e)
		}
	})
}

// TestFuzzSample makes sure that the fuzz target starts from what Check accepts.
func TestFuzzSample(t *testing.T) {
	s := assemble(parts(t, sample()))
	for _, list := range [][]*criuimg.PipeData{s.PipeData, s.FIFOData} {
		for _, p := range list {
			p.Data = make([]byte, p.Entry.GetBytes())
		}
	}
	if err := Check(s); err != nil {
		t.Error(err)
	}
	if len(s.Files) != len(sample().Files) {
		t.Errorf("%d files became %d", len(sample().Files), len(s.Files))
	}
}
