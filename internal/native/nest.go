// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/native/tasks"
)

// nest is where the stubs of a tree are born, in the order that gives each its
// parent, session and group.
type nest struct {
	log    *zap.Logger
	tracer *ptrace.Tracer
	set    *criuimg.Set
	memory *memory.Rebuild
	files  *files.Rebuild
	area   uint64                                                  // Where the stubs have their area.
	make   func(*ptrace.Tracer, int, uint64) (*remote.Stub, error) // The root.
	steps  []tasks.Step
	bears  map[int]bool // Who has children, for a while at least.

	stubs map[int]*remote.Stub // By pid; helpers and zombies to be are among them while they live.
	born  []int                // All pids in the order of birth.
	full  map[int]bool         // Whose memory has been mapped and filled.
	// copyOf is the filled process whose memory each was born with; 0: with none.
	copyOf map[int]int
}

// newNest plans the births for a build.
func newNest(b *build) (*nest, error) {
	origin, err := tasks.Here(b.ShellJob)
	if err != nil {
		return nil, err
	}
	n := &nest{
		log: b.log, tracer: b.tracer, set: b.set, memory: b.memory, files: b.files,
		bears: map[int]bool{}, stubs: map[int]*remote.Stub{}, full: map[int]bool{}, copyOf: map[int]int{}, make: remote.Spawn,
	}
	if b.Sibling {
		n.make = remote.SpawnSibling
	}
	if n.steps, err = tasks.Births(n.set, origin); err != nil {
		return nil, err
	}
	for _, step := range n.steps {
		if step.Action == tasks.Fork {
			n.bears[step.Parent] = true
		}
	}
	n.area, err = memory.Area(n.set, remote.AreaSize)
	return n, err
}

// living lists the processes that are not zombies, parents before children.
func (n *nest) living() []int {
	var pids []int
	for _, pid := range n.set.PIDs() {
		if !n.set.Process[pid].Zombie() {
			pids = append(pids, int(pid))
		}
	}
	return pids
}

// livingStubs are their stubs.
func (n *nest) livingStubs() []*remote.Stub {
	var stubs []*remote.Stub
	for _, pid := range n.living() {
		stubs = append(stubs, n.stubs[pid])
	}
	return stubs
}

// interleave calls f for every process that lives: see remote.Interleave.
func (n *nest) interleave(ctx context.Context, f func(pid int, stub *remote.Stub) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	stubs := n.livingStubs()
	runners := make([]*remote.Runner, len(stubs))
	for i, s := range stubs {
		runners[i] = s.Runner
	}
	return remote.Interleave(runners, func(i int) error { return f(stubs[i].PID(), stubs[i]) })
}

// bear makes every process and fills its memory.
func (n *nest) bear(ctx context.Context) error {
	for steps := n.steps; len(steps) > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		litter := n.litter(steps)
		if err := n.do(ctx, steps[:litter]); err != nil {
			return fmt.Errorf("%s: %w", steps[0], err)
		}
		steps = steps[litter:]
	}
	var late []int
	for _, pid := range n.living() {
		if !n.full[pid] {
			late = append(late, pid)
		}
	}
	return n.fill(ctx, late...)
}

// litter says how many of the next steps can be taken at once: those that make
// children of one parent alike. All others are taken one by one.
func (n *nest) litter(steps []tasks.Step) int {
	first := steps[0]
	if first.Action != tasks.Fork || first.Parent == 0 {
		return 1
	}
	size := 1
	for size < len(steps) && steps[size].Action == tasks.Fork && steps[size].Parent == first.Parent &&
		n.ofMemory(steps[size]) == n.ofMemory(first) {
		size++
	}
	return size
}

// ofMemory says whether the process that a fork makes has memory in the images:
// helpers and zombies have none.
func (n *nest) ofMemory(step tasks.Step) bool {
	return !step.Helper && !n.set.Process[uint32(step.PID)].Zombie()
}

// do takes one step, or several forks of a litter.
func (n *nest) do(ctx context.Context, steps []tasks.Step) error {
	step := steps[0]
	if step.Action == tasks.Fork {
		return n.fork(ctx, steps)
	}
	err := tasks.Do(step, n.stubs)
	if _, ok := errors.AsType[*tasks.ExitError](err); ok {
		n.log.Warn("a zombie has another status than it had", zap.Error(err))
		return nil
	}
	if err == nil && step.Action == tasks.NewSession && n.inTree(step.PID) {
		return n.files.TakeTerminal(step.PID, n.stubs[step.PID].Runner)
	}
	return err
}

// fork makes the processes of a litter. Children of the tree are copies of their
// filled parent, so that memory which both had in common is common again. A helper is a
// copy of its parent, too, and so is a zombie to be, and so are their children.
func (n *nest) fork(ctx context.Context, litter []tasks.Step) error {
	up := litter[0].Parent
	ofMemory := n.ofMemory(litter[0])
	matters := ofMemory || slices.ContainsFunc(litter, func(s tasks.Step) bool { return n.bears[s.PID] })
	if up != 0 && matters && !n.full[up] && n.alive(up) {
		if err := n.fill(ctx, up); err != nil {
			return err
		}
	}
	stubs, err := n.fresh(litter)
	if err != nil {
		return err
	}
	if !n.full[up] {
		up = n.copyOf[up] // 0, unless it is a helper or a zombie to be.
	}
	runners := make([]*remote.Runner, len(stubs))
	for i, stub := range stubs {
		n.stubs[stub.PID()] = stub
		n.born = append(n.born, stub.PID())
		n.copyOf[stub.PID()] = up
		runners[i] = stub.Runner
	}
	if !ofMemory {
		return nil
	}
	return remote.Interleave(runners, func(i int) error { return n.memory.Map(stubs[i].PID(), stubs[i], up) })
}

// fresh makes the stubs of a litter.
func (n *nest) fresh(litter []tasks.Step) ([]*remote.Stub, error) {
	first := litter[0]
	if first.Parent != 0 {
		pids := make([]int, len(litter))
		for i, step := range litter {
			pids[i] = step.PID
		}
		return n.stubs[first.Parent].ForkAll(pids, 0)
	}
	stub, err := n.spawn(first.PID)
	if err != nil {
		return nil, err
	}
	// Its children inherit it, and it lasts until each gets its own. Not being
	// allowed to is no reason to fail.
	_ = unix.Setpriority(unix.PRIO_PROCESS, first.PID, mostUrgent)
	return []*remote.Stub{stub}, nil
}

// spawn makes the root. The kernel gives a number free a moment after its process has
// vanished from /proc (release_task unhashes it first), so that awaitNumbers may have
// been satisfied too early; it is the root's that was given up last.
func (n *nest) spawn(pid int) (stub *remote.Stub, err error) {
	for deadline := time.Now().Add(numberPatience); ; time.Sleep(numberPause) {
		stub, err = n.make(n.tracer, pid, n.area)
		if !errors.Is(err, remote.ErrPIDTaken) || time.Now().After(deadline) {
			return stub, err
		}
	}
}

// mostUrgent is the nice value of stubs: a restore waits for each of their calls.
const mostUrgent = -20

// inTree says whether a process is one of the images, not a helper.
func (n *nest) inTree(pid int) bool { return n.set.Process[uint32(pid)] != nil }

// alive says whether a process of the images lives in them.
func (n *nest) alive(pid int) bool { return n.inTree(pid) && !n.set.Process[uint32(pid)].Zombie() }

// fill writes the contents of mapped processes.
func (n *nest) fill(ctx context.Context, pids ...int) error {
	if err := n.memory.Fill(ctx, pids...); err != nil {
		return err
	}
	for _, pid := range pids {
		n.full[pid] = true
	}
	return nil
}

// kill ends everything that was born and collects it. crtime adopts meanwhile
// what the processes leave behind, so that no zombie waits for anybody else.
func (n *nest) kill() error {
	stopAdopting, err := adoptOrphans()
	if err != nil {
		return err
	}
	var errs []error
	var ended []int
	for _, pid := range slices.Backward(n.born) {
		if stub := n.stubs[pid]; stub != nil {
			if err := stub.Kill(); err != nil {
				errs = append(errs, err)
				continue // Waiting for it might never end.
			}
		}
		ended = append(ended, pid)
	}
	for _, pid := range ended {
		collect(pid)
	}
	return errors.Join(append(errs, stopAdopting())...)
}

// collect takes notice of the end of a child, if it is one.
func collect(pid int) {
	for {
		// ECHILD: somebody else has, or will.
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
