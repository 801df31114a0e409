// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"maps"
	"slices"

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

// Set is the images of one dump, without the pages. A nil or empty field stands
// for a file that does not exist.
type Set struct {
	Inventory *inventory.InventoryEntry // inventory.img
	Tree      []*pstree.PstreeEntry     // pstree.img: parents before children, the root first.
	Process   map[uint32]*Process       // By pid: one for every entry of Tree, zombies included.

	Files []*fdinfo.FileEntry                   // files.img
	Remap []*remap_file_path.RemapFilePathEntry // remap-fpath.img: what stands for files without a name.
	Ghost map[uint32]*Ghost                     // ghost-file-ID.img, by id (hexadecimal in the name).

	PipeData    []*PipeData // pipes-data.img
	FIFOData    []*PipeData // fifo-data.img
	SocketQueue []*Packet   // sk-queues.img, in the order in which they are to be received.

	Memfd        []*memfd.MemfdInodeEntry // memfd.img
	SharedMemory map[uint64]*Pagemap      // pagemap-shmem-ID.img, by shmid.

	TTYInfo []*tty.TtyInfoEntry // tty-info.img
	TTYData []*tty.TtyDataEntry // tty-data.img

	FileLock []*file_lock.FileLockEntry // filelocks.img
	Seccomp  *seccomp.SeccompEntry      // seccomp.img
	Cgroup   *cgroup.CgroupEntry        // cgroup.img

	// TimeNS is timens-ID.img: what the clocks of the tree read at the dump. The
	// id in its name is IDs.TimeNsId of the processes if they are in a time
	// namespace of their own, otherwise 0.
	TimeNS   *timens.TimensEntry
	TimeNSID uint32
}

// Process is the images of one process. A zombie has Core alone.
type Process struct {
	Core    *criu_core.CoreEntry            // core-PID.img: the leader.
	Threads map[uint32]*criu_core.CoreEntry // core-TID.img: the other threads, by tid.
	IDs     *criu_core.TaskKobjIdsEntry     // ids-PID.img
	MM      *mm.MmEntry                     // mm-PID.img
	Pagemap *Pagemap                        // pagemap-PID.img
	FS      *fs.FsEntry                     // fs-PID.img
	Fdinfo  []*fdinfo.FdinfoEntry           // fdinfo-IDs.FilesId.img
}

// Pagemap says which pages of a process or of a shared memory segment lie in
// pages-PagesID.img. Offsets in a segment take the place of addresses.
type Pagemap struct {
	PagesID uint32
	Entries []*pagemap.PagemapEntry
}

// PipeData is the content of a pipe or FIFO.
type PipeData struct {
	Entry *pipe_data.PipeDataEntry // Bytes is set by Write.
	Data  []byte
}

// Packet is one message in the queue of a UNIX socket.
type Packet struct {
	Entry *sk_packet.SkPacketEntry // Length is set by Write.
	Data  []byte
}

// NewSet returns a set without anything in it, its maps ready to be filled.
func NewSet() *Set {
	return &Set{
		Process:      make(map[uint32]*Process),
		Ghost:        make(map[uint32]*Ghost),
		SharedMemory: make(map[uint64]*Pagemap),
	}
}

// PIDs returns the pids of all processes, parents before children.
func (s *Set) PIDs() []uint32 {
	pids := make([]uint32, len(s.Tree))
	for i, e := range s.Tree {
		pids[i] = e.GetPid()
	}
	return pids
}

// TIDs returns the ids of all threads of a process, the leader first, the others
// in ascending order.
func (p *Process) TIDs(pid uint32) []uint32 {
	return append([]uint32{pid}, slices.Sorted(maps.Keys(p.Threads))...)
}

// Zombie reports whether the process had ended already and only waits for its
// parent to collect its status.
func (p *Process) Zombie() bool { return p.Core.GetTc().GetTaskState() == TaskDead }

// addThread adds a thread that is not the leader.
func (p *Process) addThread(tid uint32, core *criu_core.CoreEntry) {
	if p.Threads == nil {
		p.Threads = make(map[uint32]*criu_core.CoreEntry)
	}
	p.Threads[tid] = core
}

// Values of TaskCoreEntry.TaskState, from CRIU's task-state.h.
const (
	TaskAlive   = 1
	TaskDead    = 2 // A zombie.
	TaskStopped = 3 // By a signal, as a job is stopped.
)

// fdinfoEntry shortens signatures.
type fdinfoEntry = fdinfo.FdinfoEntry
