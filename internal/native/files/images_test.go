// SPDX-License-Identifier: Apache-2.0

package files

import (
	"path/filepath"
	"testing"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/criuimg"
)

// set returns a set that has the processes of the tree, and of each what no
// images can be without.
func (h *holderTree) set() *criuimg.Set {
	s := criuimg.NewSet()
	s.Inventory = &inventory.InventoryEntry{
		ImgVersion: proto.Uint32(2), FdinfoPerId: proto.Bool(true), NsPerId: proto.Bool(true), RootIds: ids(1),
	}
	for i, pid := range h.pids {
		parent := h.parents[pid]
		st, err := readTerminalStat(pid)
		if err != nil {
			h.t.Fatal(err)
		}
		s.Tree = append(s.Tree, &pstree.PstreeEntry{
			Pid: proto.Uint32(uint32(pid)), Ppid: proto.Uint32(uint32(parent)),
			Pgid: proto.Uint32(uint32(st.group)), Sid: proto.Uint32(uint32(st.session)), Threads: []uint32{uint32(pid)},
		})
		core := &criu_core.CoreEntry{
			Mtype: criu_core.CoreEntry_X86_64.Enum(), ThreadInfo: &core_x86.ThreadInfoX86{},
			Tc: &criu_core.TaskCoreEntry{TaskState: proto.Uint32(criuimg.TaskAlive)}, ThreadCore: &criu_core.ThreadCoreEntry{},
		}
		space := &mm.MmEntry{}
		fillRequired(core.ProtoReflect())
		fillRequired(space.ProtoReflect())
		s.Process[uint32(pid)] = &criuimg.Process{
			Core: core, MM: space, IDs: ids(uint32(i) + 1), Pagemap: &criuimg.Pagemap{PagesID: uint32(i) + 1},
		}
	}
	return s
}

// ids are those of the objects of process n, and of the namespaces.
func ids(n uint32) *criu_core.TaskKobjIdsEntry {
	return &criu_core.TaskKobjIdsEntry{
		VmId: &n, FilesId: &n, FsId: &n, SighandId: &n,
		PidNsId: proto.Uint32(101), NetNsId: proto.Uint32(102), IpcNsId: proto.Uint32(103), UtsNsId: proto.Uint32(104),
		MntNsId: proto.Uint32(106), UserNsId: proto.Uint32(107), CgroupNsId: proto.Uint32(108),
	}
}

// fillRequired gives the fields that a message must have, and this one has not,
// some value.
func fillRequired(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Kind() == protoreflect.MessageKind && f.Cardinality() != protoreflect.Repeated:
			if f.Cardinality() == protoreflect.Required || m.Has(f) {
				fillRequired(m.Mutable(f).Message())
			}
		case f.Cardinality() == protoreflect.Required && !m.Has(f):
			m.Set(f, m.NewField(f))
		}
	}
}

// write writes the images of a collection, completed by what memory would have
// saved, and reads them again.
func write(t testing.TB, s *criuimg.Set, c *Collection) *criuimg.Set {
	t.Helper()
	for _, pid := range s.PIDs() {
		exe, err := c.Regular(int(pid), "/proc/"+itoa(pid)+"/exe", unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		s.Process[pid].MM.ExeFileId = &exe
	}
	for i, m := range c.Memfds() {
		s.SharedMemory[uint64(m.ShmID)] = &criuimg.Pagemap{PagesID: 1000 + uint32(i)}
	}
	st, err := image.Stage(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Discard(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Write(st); err != nil {
		t.Fatal(err)
	}
	loaded, err := criuimg.Load(&image.Images{Dir: st.Path()})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}
