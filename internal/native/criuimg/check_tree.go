// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"runtime"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// imageVersion is CRTOOLS_IMAGES_V1_1: every file begins with two numbers.
	imageVersion = 2
	// pidLimit is the kernel's PID_MAX_LIMIT: pids are below it.
	pidLimit = 1 << 22
	// commSize is the kernel's TASK_COMM_LEN, with the final zero.
	commSize = 16
)

// checkInventory checks what inventory.img says of all other files.
func (s *Set) checkInventory() error {
	file := kindInventory.name(0)
	switch inv := s.Inventory; {
	case inv == nil:
		return damaged(file, -1, "it is missing, so this is not a complete dump")
	case inv.GetImgVersion() != imageVersion:
		return unsupported(file, "images of version %d, this reads version %d", inv.GetImgVersion(), imageVersion)
	case !inv.GetFdinfoPerId() || !inv.GetNsPerId():
		return unsupported(file, "an old CRIU wrote these images: restore with it, and dump again")
	case inv.GetTcpClose():
		return unsupported(file, "TCP connections were to be closed by the restore")
	case inv.RootIds == nil:
		return damaged(file, 0, "it has no root_ids")
	case hasPlugins(inv):
		return unsupported(file, "plugins of CRIU took part in the dump")
	}
	return nil
}

// pluginsField is the field of inventory_entry that lists CRIU's plugins, and of
// plugins_entry. go-criu does not know it yet.
const pluginsField protowire.Number = 12

// hasPlugins reports whether the images need plugins of CRIU, for such as GPUs.
func hasPlugins(inv *inventory.InventoryEntry) bool {
	for unknown := inv.ProtoReflect().GetUnknown(); len(unknown) > 0; {
		num, typ, n := protowire.ConsumeField(unknown)
		if n < 0 {
			return false
		}
		if num == pluginsField && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(unknown)
			if entry, _ := protowire.ConsumeBytes(unknown[tag:]); len(entry) > 0 {
				return true
			}
		}
		unknown = unknown[n:]
	}
	return false
}

// checkTree checks the numbers and links of pstree.img.
func (s *Set) checkTree() error {
	file := kindTree.name(0)
	if len(s.Tree) == 0 {
		return damaged(file, -1, "it is missing or empty")
	}
	if len(s.Process) != len(s.Tree) {
		return damaged(file, -1, "it lists %d processes, but there are images of %d", len(s.Tree), len(s.Process))
	}
	used := make(map[uint32]bool)
	processes := make(map[uint32]bool)
	for i, e := range s.Tree {
		if isRoot := i == 0; isRoot != (e.GetPpid() == 0) {
			return damaged(file, i, "process %d has parent %d: the first process, and no other, has 0", e.GetPid(), e.GetPpid())
		}
		if i > 0 && !processes[e.GetPpid()] {
			return damaged(file, i, "process %d has parent %d, which is not among the processes before it", e.GetPid(), e.GetPpid())
		}
		processes[e.GetPid()] = true
		if e.GetPgid() >= pidLimit || e.GetSid() >= pidLimit {
			return damaged(file, i, "process group %d or session %d is out of range", e.GetPgid(), e.GetSid())
		}
		if t := e.GetThreads(); len(t) == 0 || t[0] != e.GetPid() {
			return damaged(file, i, "process %d is not its own first thread", e.GetPid())
		}
		for _, id := range e.GetThreads() {
			if id == 0 || id >= pidLimit {
				return damaged(file, i, "%d is not a possible pid", id)
			}
			if used[id] {
				return damaged(file, i, "%d is used twice", id)
			}
			used[id] = true
		}
	}
	return nil
}

// checkProcesses checks that each process has the images that it needs.
func (s *Set) checkProcesses() error {
	spaces := make(map[uint32]uint32)
	for i, e := range s.Tree {
		pid, p := e.GetPid(), s.Process[e.GetPid()]
		if p == nil || p.Core == nil {
			return missing(&kindCore, pid)
		}
		if err := p.checkLeader(pid); err != nil {
			return err
		}
		if p.Zombie() {
			if err := p.checkZombie(e, i == 0); err != nil {
				return err
			}
			continue
		}
		for _, tid := range e.GetThreads()[1:] {
			if err := checkThread(tid, p.Threads[tid]); err != nil {
				return err
			}
		}
		if len(e.GetThreads()) != 1+len(p.Threads) {
			return damaged(kindTree.name(0), i, "it lists %d threads, but there are images of %d", len(e.GetThreads()), 1+len(p.Threads))
		}
		if err := s.checkIDs(pid, p); err != nil {
			return err
		}
		if other, taken := spaces[p.IDs.GetVmId()]; taken {
			return unsupported(kindIDs.name(uint64(pid)), "process %d shares its memory with process %d", pid, other)
		}
		spaces[p.IDs.GetVmId()] = pid
	}
	return nil
}

// checkZombie checks that a zombie has no more than it can have.
func (p *Process) checkZombie(e *pstree.PstreeEntry, root bool) error {
	switch {
	case root:
		return unsupported(kindTree.name(0), "the root of the tree is a zombie")
	case len(e.GetThreads()) != 1 || len(p.Threads) > 0:
		return damaged(kindCore.name(uint64(e.GetPid())), 0, "a zombie with more than one thread")
	case p.IDs != nil || p.MM != nil || p.FS != nil || p.Pagemap != nil || p.Fdinfo != nil:
		return damaged(kindCore.name(uint64(e.GetPid())), 0, "it is that of a zombie, but there are images of what only living processes have")
	default:
		return nil
	}
}

// checkLeader checks the core of a process.
func (p *Process) checkLeader(pid uint32) error {
	file := kindCore.name(uint64(pid))
	if err := checkMachine(file, p.Core); err != nil {
		return err
	}
	tc := p.Core.GetTc()
	if tc == nil {
		return damaged(file, 0, "it says nothing of the process (tc)")
	}
	if len(tc.GetComm()) >= commSize {
		return damaged(file, 0, "the name %q is longer than the kernel's", tc.GetComm())
	}
	switch tc.GetTaskState() {
	case TaskDead:
		return nil
	case TaskAlive, TaskStopped:
	default:
		return damaged(file, 0, "unknown task state %d", tc.GetTaskState())
	}
	switch {
	case p.IDs == nil:
		return missing(&kindIDs, pid)
	case p.MM == nil:
		return missing(&kindMM, pid)
	case p.FS == nil:
		return missing(&kindFS, pid)
	case p.Pagemap == nil:
		return missing(&kindPagemap, pid)
	}
	return checkThread(pid, p.Core)
}

// checkThread checks what every living thread has.
func checkThread(tid uint32, core *criu_core.CoreEntry) error {
	file := kindCore.name(uint64(tid))
	if core == nil {
		return missing(&kindCore, tid)
	}
	if err := checkMachine(file, core); err != nil {
		return err
	}
	if core.ThreadCore == nil {
		return damaged(file, 0, "it says nothing of the thread (thread_core)")
	}
	if len(core.ThreadCore.GetComm()) >= commSize {
		return damaged(file, 0, "the name %q is longer than the kernel's", core.ThreadCore.GetComm())
	}
	if core.ThreadInfo == nil && core.TiAarch64 == nil {
		return damaged(file, 0, "it has no registers")
	}
	return nil
}

// checkMachine checks that a thread can run here.
func checkMachine(file string, core *criu_core.CoreEntry) error {
	here := map[string]criu_core.CoreEntryMarch{"amd64": criu_core.CoreEntry_X86_64, "arm64": criu_core.CoreEntry_AARCH64}[runtime.GOARCH]
	if core.GetMtype() != here {
		return unsupported(file, "it is of a %s process, and this machine is %s", core.GetMtype(), here)
	}
	if here == criu_core.CoreEntry_X86_64 && core.TiAarch64 != nil || here == criu_core.CoreEntry_AARCH64 && core.ThreadInfo != nil {
		return damaged(file, 0, "it has the registers of another machine than it says")
	}
	return nil
}

// checkIDs checks ids-PID.img: the namespaces must be those that the dumping
// program itself was in. The time namespace may be another: crtime makes one.
func (s *Set) checkIDs(pid uint32, p *Process) error {
	file := kindIDs.name(uint64(pid))
	if p.IDs.GetVmId() == 0 || p.IDs.GetFilesId() == 0 || p.IDs.GetFsId() == 0 || p.IDs.GetSighandId() == 0 {
		return damaged(file, 0, "an id is 0")
	}
	own, root := p.IDs, s.Inventory.GetRootIds()
	for _, ns := range []struct {
		name      string
		own, root *uint32
	}{
		{"pid", own.PidNsId, root.PidNsId},
		{"network", own.NetNsId, root.NetNsId},
		{"IPC", own.IpcNsId, root.IpcNsId},
		{"UTS", own.UtsNsId, root.UtsNsId},
		{"mount", own.MntNsId, root.MntNsId},
		{"user", own.UserNsId, root.UserNsId},
		{"cgroup", own.CgroupNsId, root.CgroupNsId},
	} {
		if ns.own != nil && ns.root != nil && *ns.own != *ns.root {
			return unsupported(file, "process %d is in a %s namespace of its own", pid, ns.name)
		}
	}
	return nil
}
