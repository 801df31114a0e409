// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/timers"
	"github.com/crtime/crtime/internal/urgent"
)

// Restore implements engine.Restorer.
//
// Everything slow comes first, in the stubs' own time: memory and files. Then the
// namespaces get their offsets, every process joins its own, becomes what it was, and
// stands ready at the gate.
func (e *Engine) Restore(ctx context.Context, req engine.RestoreRequest, hooks engine.RestoreHooks) (engine.Restored, error) {
	warnOfOptions(e.log(), req.Options)
	set, err := e.checked(req.Images, req.Options)
	if err != nil {
		return engine.Restored{}, err
	}
	root := int(set.Tree[0].GetPid())
	if err := req.Tell("pre-restore", 0); err != nil {
		return engine.Restored{}, err
	}
	err = ptrace.Run(func(t *ptrace.Tracer) error {
		b, err := newBuild(e.log(), t, set, req)
		if err != nil {
			return err
		}
		err = b.do(ctx, hooks)
		if err != nil {
			err = errors.Join(err, b.undo())
		}
		return errors.Join(err, b.close())
	})
	if err != nil {
		return engine.Restored{}, err
	}
	if err := req.Tell("post-resume", 0); err != nil {
		e.log().Warn("the tree runs already", zap.Error(err))
	}
	return engine.Restored{PID: root}, nil
}

// build is a tree that is being rebuilt.
type build struct {
	engine.RestoreRequest
	log    *zap.Logger
	set    *criuimg.Set
	tracer *ptrace.Tracer
	dir    *os.File // The image directory.
	memory *memory.Rebuild
	files  *files.Rebuild
	nest   *nest
	spaces *spaces
	shifts timelineShifts // From the moment at which the clocks are fixed.
	// late corrects time limits if the tree is released later than planned.
	late []func() error
	// threads are all threads of each process that lives, leader first.
	threads map[int][]*ptrace.Thread
}

// newBuild prepares a rebuild; nothing is made yet.
func newBuild(log *zap.Logger, t *ptrace.Tracer, set *criuimg.Set, req engine.RestoreRequest) (*build, error) {
	dir, err := os.Open(req.Images.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the images: %w", err)
	}
	b := &build{RestoreRequest: req, log: log, set: set, tracer: t, dir: dir, threads: map[int][]*ptrace.Thread{}}
	if b.files, err = files.NewRebuild(set, dir); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.memory, err = memory.NewRebuild(set, dir, b.files); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.nest, err = newNest(b); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if b.spaces, err = planSpaces(req.State, b.nest.living()); err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.files.UseTimeNamespaces(b.doors())
	return b, nil
}

// doors are the time namespaces that are there already, by their numbers in the images.
func (b *build) doors() map[uint32]*os.File {
	doors := map[uint32]*os.File{}
	for _, pid := range b.nest.living() {
		ids := b.set.Process[uint32(pid)].IDs
		if holder := b.Namespaces[b.spaces.home[pid]]; holder != nil && ids != nil {
			doors[ids.GetTimeNsId()] = holder.FD()
		}
	}
	return doors
}

// shift is the one for the timers of a process.
func (b *build) shift(pid int) *timelineShift { return b.shifts[b.spaces.home[pid]] }

// close gives up what belongs to crtime. The processes are not touched.
func (b *build) close() error {
	var errs []error
	if b.memory != nil {
		errs = append(errs, b.memory.Close())
	}
	if b.files != nil {
		errs = append(errs, b.files.Close())
	}
	return errors.Join(append(errs, b.dir.Close())...)
}

// undo ends every process that was made.
func (b *build) undo() error {
	if err := b.nest.kill(); err != nil {
		return fmt.Errorf("undo the restore: %w", err)
	}
	return nil
}

// do rebuilds the tree and lets it go.
func (b *build) do(ctx context.Context, hooks engine.RestoreHooks) error {
	clocks, err := hostclock.NewReader()
	if err != nil {
		return err
	}
	if err := b.grow(ctx); err != nil {
		return err
	}
	if err := b.tellBuilt(); err != nil {
		return err
	}
	// From here on every moment that passes is one that the tree may be late.
	urgent.On(func() { err = b.finish(ctx, hooks, clocks.Offsets()) })
	return err
}

// tellBuilt tells of all that is still to come before the tree runs: from here on every
// moment counts, and whoever listens may take long. Of namespaces CRIU tells only where
// it has made some.
func (b *build) tellBuilt() error {
	if err := b.Tell("post-restore", int(b.set.Tree[0].GetPid())); err != nil {
		return err
	}
	if err := b.Tell("pre-resume", 0); err != nil {
		b.log.Warn("the tree is resumed all the same", zap.Error(err))
	}
	return nil
}

// tail is more than it takes to come from one gate to the other, where the rest of the
// wait is spent.
const tail = clockstate.Nanos(50 * time.Microsecond)

// finish fixes the clocks and does what is left. own are crtime's own offsets.
func (b *build) finish(ctx context.Context, hooks engine.RestoreHooks, own clockstate.Offsets) error {
	lead, err := b.lead()
	if err != nil {
		return err
	}
	plan, err := hooks.FixClocks(lead)
	if err != nil {
		return err
	}
	if b.shifts, err = newTimelineShifts(b.State, plan, own, b.set); err != nil {
		return err
	}
	if err := b.awaken(ctx, plan); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := hooks.Built(int(b.set.Tree[0].GetPid()), tail); err != nil {
		return err
	}
	hooks.Release()
	b.catchUp()
	b.release()
	return nil
}

// grow does all that can be done outside the time namespace: afterwards every
// process has its memory, its files and all else that a single thread can have.
func (b *build) grow(ctx context.Context) error {
	if err := awaitNumbers(ctx, b.set); err != nil {
		return err
	}
	if b.ShellJob {
		// The terminal from which crtime was started takes the place of the one
		// from which the tree was.
		b.files.UseTerminal(int(os.Stdin.Fd()))
	}
	if err := b.files.OpenAll(); err != nil {
		return err
	}
	if err := b.nest.bear(ctx); err != nil {
		return err
	}
	if err := b.nest.interleave(ctx, b.memory.Finish); err != nil {
		return err
	}
	if err := b.files.Seal(); err != nil {
		return err
	}
	for _, pid := range b.nest.living() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := b.files.Install(pid, b.nest.stubs[pid].Runner); err != nil {
			return err
		}
	}
	return b.nest.interleave(ctx, func(pid int, stub *remote.Stub) error {
		return tasks.Prepare(b.set, uint32(pid), stub)
	})
}

// awaken takes the processes into their time namespaces and gives them their
// threads, timers and signals. When it returns they consist of nothing that is
// not theirs, and stand still.
func (b *build) awaken(ctx context.Context, plan *clockstate.Plan) error {
	b.files.PlanTimers(func(pid int, t files.Timerfd) int64 { return b.shift(pid).due(t.Timeline(), int64(t.Left)) })
	if err := b.spaces.enter(plan, b.Namespaces, b.nest.stubs); err != nil {
		return err
	}
	err := b.nest.interleave(ctx, func(pid int, stub *remote.Stub) error {
		if err := b.makeThreads(pid, stub); err != nil {
			return err
		}
		return timers.Create(b.set, uint32(pid), stub)
	})
	if err != nil {
		return err
	}
	for _, pid := range b.nest.living() {
		if err := b.files.Arm(pid, b.nest.stubs[pid].Runner); err != nil {
			return err
		}
	}
	err = b.nest.interleave(ctx, func(pid int, stub *remote.Stub) error {
		shift := b.shift(pid)
		armed := timers.Plan{
			Due:   func(t timers.Timer) int64 { return shift.due(t.Timeline(), int64(t.Left)) },
			Ahead: &shift.theirs,
		}
		return armed.Arm(b.set, uint32(pid), stub)
	})
	if err != nil {
		return err
	}
	return b.nest.interleave(ctx, b.complete)
}

// makeThreads gives a process its further threads, and each what belongs to a
// thread.
func (b *build) makeThreads(pid int, stub *remote.Stub) error {
	all := []*ptrace.Thread{stub.Thread}
	var further []int
	for _, tid := range b.set.Process[uint32(pid)].TIDs(uint32(pid))[1:] {
		further = append(further, int(tid))
	}
	if len(further) > 0 {
		made, err := stub.NewThreads(further)
		if err != nil {
			return err
		}
		all = append(all, made...)
	}
	also := b.memory.ClockCalls(pid)
	for _, th := range all {
		if err := tasks.Thread(b.set, uint32(pid), uint32(th.TID), stub, th, also...); err != nil {
			return err
		}
		also = nil // One is enough.
	}
	b.threads[pid] = all
	return nil
}

// complete gives a process what it can have only at the very end, and takes the
// stub out of it.
func (b *build) complete(pid int, stub *remote.Stub) error {
	shift := b.shift(pid)
	states := map[*ptrace.Thread]remote.State{}
	resumer := tasks.Resumer{
		Set: b.set, PID: uint32(pid), Stub: stub, Annex: tasks.NewAnnex(stub, pid),
		Warn: func(what string, tid uint32, err error) { b.log.Warn(what, zap.Uint32("tid", tid), zap.Error(err)) },
		Left: tasks.Left{Now: shift.left, Released: shift.leftAtRelease},
	}
	for _, th := range b.threads[pid] {
		tid := uint32(th.TID)
		if err := tasks.Queue(b.set, uint32(pid), tid, stub, th); err != nil {
			return err
		}
		if err := tasks.Credentials(b.set, uint32(pid), tid, stub, th); err != nil {
			return err
		}
		state, err := resumer.State(tid, th)
		if err != nil {
			return err
		}
		states[th] = state
	}
	b.late = append(b.late, resumer.Late...)
	return stub.Leave(states)
}

// catchUp corrects what was counted to the planned moment of the release, if that is
// over by more than it takes.
func (b *build) catchUp() {
	const worthwhile = 200 * time.Microsecond
	if b.shift(int(b.set.Tree[0].GetPid())).overdue() < worthwhile {
		return
	}
	for _, correct := range b.late {
		if err := correct(); err != nil && !errors.Is(err, ptrace.ErrGone) {
			b.log.Warn("a thread waits longer than it was to", zap.Error(err))
		}
	}
}

// release lets every thread run. From the first one on nothing can be undone; what
// cannot be done here the kernel does when the tracer ends.
func (b *build) release() {
	if !b.alone() {
		// First for all of them, and then the detaching: were crtime killed in between,
		// the kernel would end those that it still holds, and with one thread its process.
		b.each(func(th *ptrace.Thread) error { return th.Outlive() })
	}
	for _, pid := range b.nest.living() {
		if sig := tasks.Stopped(b.set, uint32(pid)); sig != 0 {
			// It is delivered before the first instruction.
			if err := unix.Kill(pid, sig); err != nil {
				b.log.Warn("stop a process that was stopped", zap.Int("pid", pid), zap.Error(err))
			}
		}
	}
	b.each(func(th *ptrace.Thread) error { return th.Detach(0) })
}

// alone reports whether the tree is a single thread.
func (b *build) alone() bool {
	living := b.nest.living()
	return len(living) == 1 && len(b.threads[living[0]]) == 1
}

// each calls f for every thread of the tree. One that was killed meanwhile is fine.
func (b *build) each(f func(*ptrace.Thread) error) {
	for _, pid := range b.nest.living() {
		for _, th := range b.threads[pid] {
			if err := f(th); err != nil && !errors.Is(err, ptrace.ErrGone) {
				b.log.Warn("let a thread go", zap.Int("tid", th.TID), zap.Error(err))
			}
		}
	}
}
