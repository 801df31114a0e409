// SPDX-License-Identifier: Apache-2.0

package imported

import (
	"fmt"
	"strconv"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
)

const (
	// taskDead is a zombie, from CRIU's task-state.h.
	taskDead = 2
	// by is the engine of such a dump, which has the name that crtime gives to CRIU.
	by = "criu"
	// pstreeFile lists the processes.
	pstreeFile = "pstree.img"
)

// State returns the record of the clocks of the tree in a directory, which is valid.
//
// A process in a pid namespace of the tree's own has no known number outside it: its
// OuterPID is one that no process can have.
//
// The error is ErrNoClocks, engine.ErrUnsupported, or for files that contradict
// themselves or each other image.ErrMissing or image.ErrAltered.
func State(dir string) (*clockstate.State, error) { return StateOf(directory(dir)) }

// StateOf is State of images that lie elsewhere. Its errors are State's and from's.
func StateOf(from Source) (*clockstate.State, error) {
	read, err := readClocks(from)
	if err != nil {
		return nil, err
	}
	inv, err := readOne[inventory.InventoryEntry](from, "inventory.img", inventoryMagic)
	if err != nil {
		return nil, err
	}
	t := &tree{from: from, own: inv.GetRootIds(), clocks: read, state: &clockstate.State{
		Freeze:       read.reading,
		FreezeSource: clockstate.FreezeImported,
		FreezeWindow: readWindow(from),
		Namespaces:   []clockstate.Namespace{{ID: spaceID(read.space)}},
		Engine:       by,
	}}
	entries, err := readAll[pstree.PstreeEntry](from, pstreeFile, pstreeMagic)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := t.add(e); err != nil {
			return nil, err
		}
	}
	if err := t.state.Validate(); err != nil {
		return nil, damaged(from.Path(pstreeFile), "%w", err)
	}
	return t.state, nil
}

// spaceID is the number of the one time namespace in a state, which may not be 0.
func spaceID(number uint32) uint64 { return max(uint64(number), 1) }

// tree is a state that is being filled with processes.
type tree struct {
	from   Source
	own    *criucore.TaskKobjIdsEntry // Of CRIU itself.
	clocks *clocks
	state  *clockstate.State
}

// fileOf is the name of an image of one process.
func fileOf(stem string, pid uint32) string {
	return stem + "-" + strconv.FormatUint(uint64(pid), 10) + ".img"
}

// add adds a process, unless it is a zombie, which reads no clock.
func (t *tree) add(e *pstree.PstreeEntry) error {
	pid := e.GetPid()
	if pid == 0 || pid >= clockstate.PIDLimit || e.GetPpid() >= clockstate.PIDLimit {
		return damaged(t.from.Path(pstreeFile), "%d or its parent %d is not a possible process number", pid, e.GetPpid())
	}
	core, err := readOne[criucore.CoreEntry](t.from, fileOf("core", pid), coreMagic)
	if err != nil {
		return err
	}
	if core.GetTc().GetTaskState() == taskDead {
		return nil
	}
	ids, err := readOne[criucore.TaskKobjIdsEntry](t.from, fileOf("ids", pid), idsMagic)
	if err != nil {
		return err
	}
	if err := t.checkSpace(pid, ids); err != nil {
		return err
	}
	p := clockstate.Process{
		PID:                  int32(pid),
		OuterPID:             t.outer(pid, ids),
		ParentPID:            int32(e.GetPpid()),
		Comm:                 core.GetTc().GetComm(),
		Namespace:            t.state.Namespaces[0].ID,
		NamespaceForChildren: t.state.Namespaces[0].ID,
		Readings:             t.state.Freeze.Readings,
		Threads:              int32(len(e.GetThreads())),
	}
	if p.ParentPID == 0 {
		t.state.RootPID = p.OuterPID
	} else {
		p.ParentPID = t.outer(e.GetPpid(), ids)
	}
	t.state.Processes = append(t.state.Processes, p)
	return nil
}

// outer is the number of a process outside the tree.
func (t *tree) outer(pid uint32, ids *criucore.TaskKobjIdsEntry) int32 {
	if ids.PidNsId != nil && t.own.GetPidNsId() != ids.GetPidNsId() {
		return clockstate.PIDLimit + int32(pid)
	}
	return int32(pid)
}

// checkSpace checks that a process read the clocks that were recorded.
func (t *tree) checkSpace(pid uint32, ids *criucore.TaskKobjIdsEntry) error {
	want := t.clocks.space
	if want == 0 {
		want = t.own.GetTimeNsId()
	}
	if got := ids.GetTimeNsId(); got != want {
		return fmt.Errorf("%s: %w: process %d was in time namespace %d, and the clocks are those of namespace %d",
			t.from.Path(fileOf("ids", pid)), engine.ErrUnsupported, pid, got, want)
	}
	return nil
}
