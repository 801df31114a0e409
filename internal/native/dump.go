// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/memory"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/timers"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/urgent"
)

// Dump implements engine.Dumper.
func (e *Engine) Dump(ctx context.Context, req engine.DumpRequest, hooks engine.DumpHooks) error {
	if req.TrackMem || req.Parent != "" {
		return fmt.Errorf("%w: the native engine does not track memory between dumps; use --engine criu", engine.ErrUnsupported)
	}
	running, err := proc.Scan(req.PID)
	if err != nil {
		return err
	}
	sleeps, err := e.prepare(req, running)
	if err != nil {
		return err
	}
	warnOfOptions(e.log(), req.Options)
	if err := req.Tell("pre-dump", 0); err != nil {
		return errors.Join(err, sleeps.close())
	}
	sleeps.look(running)
	err = ptrace.Run(func(t *ptrace.Tracer) error {
		// Whatever becomes of the dump, programs are not to see that they stood.
		t.Mend = remote.Mend
		d := &dump{DumpRequest: req, sleeps: sleeps, watch: files.WatchTimers(running.PIDs())}
		var err error
		urgent.On(func() { err = d.freeze(ctx, t, hooks) })
		if err == nil {
			err = d.do(ctx, hooks)
		}
		if d.tree == nil {
			return err
		}
		if err != nil {
			return errors.Join(err, d.abandon(), d.release())
		}
		end := d.tree.Kill
		if req.LeaveRunning {
			end = d.release
		}
		err = end()
		if closeErr := d.files.Close(); closeErr != nil {
			// They are duplicates, and everything has been saved.
			e.log().Warn("close the duplicates of the tree's files", zap.Error(closeErr))
		}
		return err
	})
	return errors.Join(err, sleeps.close())
}

// prepare sees whether the engine can represent a tree, and meanwhile makes ready what
// takes long of looking at its sleeping threads.
func (e *Engine) prepare(req engine.DumpRequest, running *proc.Snapshot) (s *sleeps, err error) {
	var work errgroup.Group
	work.Go(func() (err error) {
		s, err = askOfSleeps(e.log(), running)
		return err
	})
	obstacles, err := survey(req.PID, running, req.Options)
	if err == nil && len(obstacles) > 0 {
		err = &UnsupportedError{obstacles}
	}
	if err = errors.Join(err, work.Wait()); err != nil && s != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, err
}

// dump is one dump under way: the tree stands still.
type dump struct {
	engine.DumpRequest
	tree    *ptrace.Tree
	sleeps  *sleeps
	watch   *files.TimerWatch
	waiting timers.Waiting         // The signals of timers at the freeze.
	host    clockstate.HostReading // Right after the last thread had stopped.
	frozen  instant                // The same, as crtime's own clocks read.
	runners []*remote.Runner       // One for every process that lives, in the tree's order.
	files   *files.Collection
	annexes map[int]*tasks.Annex // Of the processes that will run on.
}

// freeze stops the tree and reads the clocks at once. A thread that was stopped in
// the middle of reading a clock has to be sent on; then they are read again.
func (d *dump) freeze(ctx context.Context, t *ptrace.Tracer, hooks engine.DumpHooks) error {
	ctx, cancel := limit(ctx, d.Timeout)
	defer cancel()
	var err, unread error
	stands := func(processes []*ptrace.Process) { unread = d.takeInstant(processes, hooks) }
	t.StandsStill = stands
	d.tree, err = t.Freeze(ctx, d.PID)
	t.StandsStill = nil
	if err != nil {
		return fmt.Errorf("stop the tree: %w", err)
	}
	for moved := true; moved && unread == nil; {
		if moved, err = leaveVDSO(d.tree); err != nil {
			return err
		}
		if moved {
			stands(d.tree.Processes)
		}
	}
	if unread != nil {
		return unread
	}
	d.frozen = ownInstant(d.host, d.sleeps.clocks.Offsets())
	if err := d.mend(); err != nil {
		return err
	}
	return hooks.Frozen(d.host)
}

// takeInstant reads the clocks, and sees what timers have done until then: they run on,
// and what they do from there is taken back. Signals come first, as that is quick, and
// one that comes between is then late for the program and not early.
func (d *dump) takeInstant(standing []*ptrace.Process, hooks engine.DumpHooks) error {
	var looked, read error
	d.waiting, looked = timers.LookAtSignals(standing)
	d.host, read = hooks.ReadClocks()
	d.watch.Look()
	return errors.Join(looked, read)
}

// mend has calls that every stop ends made again.
func (d *dump) mend() error {
	for _, th := range d.tree.Threads() {
		// At once, and not only when they are released: what is not mended when
		// crtime is killed stays so.
		if err := remote.Mend(th); err != nil && !errors.Is(err, ptrace.ErrGone) {
			return fmt.Errorf("look at the system call of thread %d: %w", th.TID, err)
		}
	}
	return nil
}

// do saves a stopped tree. It is left as it was, but for what abandon undoes.
func (d *dump) do(ctx context.Context, hooks engine.DumpHooks) error {
	set, pages, err := d.collect(ctx)
	if err != nil {
		return supported(err)
	}
	defer pages.Close()
	if err := pages.Write(ctx, d.Images.Dir()); err != nil {
		return err
	}
	for _, w := range pages.Written() {
		d.Images.Vouch(w.Name, w.Size, w.Blocks)
	}
	if err := set.Write(d.Images); err != nil {
		return err
	}
	if d.LeaveRunning {
		d.makeAnnexes()
	}
	// From here on every process is as it was found, whatever comes.
	if err := d.withdraw(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := hooks.Collected(); err != nil {
		return err
	}
	return d.Tell("post-dump", 0)
}

// collect gathers everything but the contents of memory.
func (d *dump) collect(ctx context.Context) (*criuimg.Set, *memory.Plan, error) {
	// Before a call is made in any thread, which would count as a switch.
	d.sleeps.stop(d.living(), d.host, d.keptDeadline)
	if err := d.lookAgain(); err != nil {
		return nil, nil, err
	}
	if err := d.attach(); err != nil {
		return nil, nil, err
	}
	if err := d.nameCalls(); err != nil {
		return nil, nil, err
	}
	set, all := criuimg.NewSet(), d.targets()
	if err := context.Cause(ctx); err != nil {
		return nil, nil, err
	}
	// Before the pending signals are read: see timers.Read.
	due, err := timers.Read(all.timers, d.frozen.of)
	if err != nil {
		return nil, nil, err
	}
	if err := tasks.Collect(all.tasks, set, d.sleeps.rest); err != nil {
		return nil, nil, err
	}
	// The tree is killed on the strength of these images.
	if err := tasks.CheckBirths(set, d.ShellJob); err != nil {
		return nil, nil, fmt.Errorf("%w: no restore could make the tree again: %w", engine.ErrUnsupported, err)
	}
	d.askOfTimers(due)
	if err := due.Put(set, d.waiting); err != nil {
		return nil, nil, err
	}
	if err := d.addHeader(set); err != nil {
		return nil, nil, err
	}
	if d.files, err = files.Collect(all.files, set, fileLimits(d.Options)); err != nil {
		return nil, nil, err
	}
	d.files.CountTimersFrom(d.frozen.of, d.watch)
	if err := context.Cause(ctx); err != nil {
		return nil, nil, err
	}
	pages, err := memory.Collect(all.memory, d.files, set)
	return set, pages, err
}

// keptDeadline reports whether a thread was stopped in a call whose deadline the kernel
// keeps. It may have begun after the tree was looked at.
func (d *dump) keptDeadline() bool {
	return slices.ContainsFunc(d.tree.Threads(), func(th *ptrace.Thread) bool {
		r, err := th.Registers()
		return err == nil && tasks.DeadlineKept(&r)
	})
}

// living are the processes that live.
func (d *dump) living() []int {
	var pids []int
	for _, p := range d.tree.Processes {
		if !p.Zombie {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// targets are the processes as each room wants them.
type targets struct {
	tasks  []tasks.Target
	timers []timers.Target
	files  []files.Target
	memory []memory.Target
}

// targets lists the processes of the tree, to which runners are attached.
func (d *dump) targets() targets {
	var all targets
	left := d.runners
	for _, p := range d.tree.Processes {
		if p.Zombie {
			all.tasks = append(all.tasks, tasks.Target{Process: p})
			continue
		}
		r := left[0]
		left = left[1:]
		all.tasks = append(all.tasks, tasks.Target{Process: p, Remote: r})
		all.timers = append(all.timers, timers.Target{PID: p.PID, Remote: r})
		all.files = append(all.files, files.Target{PID: p.PID, Remote: r})
		all.memory = append(all.memory, memory.Target{PID: p.PID, Remote: r})
	}
	return all
}

// attach prepares all processes that live for system calls.
func (d *dump) attach() error {
	var leaders []*ptrace.Thread
	for _, p := range d.tree.Processes {
		if !p.Zombie {
			leaders = append(leaders, p.Leader())
		}
	}
	var err error
	if d.runners, err = remote.AttachAll(leaders); err != nil {
		return fmt.Errorf("prepare the processes: %w", err)
	}
	return nil
}

// lookAgain looks for what Survey alone looks at, and may have come about since: a
// process that was born, in namespaces of its own.
func (d *dump) lookAgain() error {
	var pids []int
	for _, p := range d.tree.Processes {
		if !p.Zombie {
			pids = append(pids, p.PID)
		}
	}
	found, err := strangers(pids, func(pid int) ([]int, error) { return []int{pid}, nil })
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &UnsupportedError{found}
	}
	return nil
}

// withdraw takes out of the processes what was put into them.
func (d *dump) withdraw() error {
	err := remote.CloseAll(d.runners)
	d.runners = nil
	return err
}

// nameCalls finds out which calls threads are in that were stopped before: they are in
// restart_syscall, whose name says nothing.
func (d *dump) nameCalls() error {
	for _, r := range d.runners {
		for _, th := range d.threadsOf(r.PID()) {
			s, err := r.Original(th)
			if err != nil {
				return err
			}
			if nr := d.sleeps.restarts(th.TID, &s.Registers); nr >= 0 {
				if err := r.Rename(th, nr); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// threadsOf are the threads of a process.
func (d *dump) threadsOf(pid int) []*ptrace.Thread {
	for _, p := range d.tree.Processes {
		if p.PID == pid {
			return p.Threads
		}
	}
	return nil
}

// makeAnnexes gives the processes that will run on the memory that Prolong needs.
func (d *dump) makeAnnexes() {
	d.annexes = map[int]*tasks.Annex{}
	for _, r := range d.runners {
		a := tasks.NewAnnex(r, r.PID())
		d.annexes[r.PID()] = &a
		if err := a.Prepare(r, d.threadsOf(r.PID()), d.sleeps.rest); err != nil {
			// They wait anew for the whole of their time then.
			d.sleeps.log.Warn("prepare the threads that wait with a time limit", zap.Int("pid", r.PID()), zap.Error(err))
		}
	}
}

// release lets the tree run on. Threads in calls that every stop ends go on with what
// is left of their time.
func (d *dump) release() error {
	for _, p := range d.tree.Processes {
		for _, th := range p.Threads {
			err := tasks.Prolong(th, d.sleeps.rest, d.sleeps.left, d.annexes[p.PID])
			if err != nil && !errors.Is(err, ptrace.ErrGone) {
				d.sleeps.log.Warn("a thread waits anew for the whole of its time", zap.Int("tid", th.TID), zap.Error(err))
			}
		}
	}
	return d.tree.Release()
}

// abandon undoes a dump that failed, but for what its images are.
func (d *dump) abandon() error {
	err := d.withdraw()
	if d.files != nil {
		err = errors.Join(err, d.files.Abandon())
	}
	return err
}
