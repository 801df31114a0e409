// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process of a frozen tree.
type Process struct {
	PID, PPID int
	Zombie    bool      // It has ended and its parent has not collected it; no threads.
	Threads   []*Thread // Leader first, the others by number.

	stopped unix.Signal // What the threads said when it was frozen.
}

// Stopped is the signal that had stopped the process before it was frozen, as
// SIGSTOP does; 0: none. Using the threads does not change it.
func (p *Process) Stopped() unix.Signal {
	if p.stopped != 0 {
		return p.stopped
	}
	for _, th := range p.Threads {
		if th.GroupStop != 0 {
			return th.GroupStop
		}
	}
	return 0
}

// settleGroupStop makes GroupStop of all threads say the same if that of any says
// that the process is stopped: a signal that stopped or continued the process
// while it was frozen has reached only some of them. No thread runs for that; it
// goes from one stop into the next within the kernel.
func (p *Process) settleGroupStop() error {
	if p.Stopped() == 0 {
		return nil
	}
	for _, th := range p.Threads {
		err := th.Interrupt()
		if err == nil {
			err = th.Continue(0)
		}
		if err == nil {
			_, err = th.Wait()
		}
		if ignoreGone(err) != nil {
			return err
		}
	}
	return nil
}

// Leader is the process's first thread, nil for a zombie.
func (p *Process) Leader() *Thread {
	if len(p.Threads) == 0 {
		return nil
	}
	return p.Threads[0]
}

// Tree is a tree of processes in which every thread is stopped.
type Tree struct {
	Processes []*Process // Parents before children, root first.
}

// Threads lists all threads, process by process.
func (tr *Tree) Threads() []*Thread {
	var all []*Thread
	for _, p := range tr.Processes {
		all = append(all, p.Threads...)
	}
	return all
}

// Release detaches every thread, so that everything runs on as it was. A process
// that was stopped by a signal stays stopped. Threads that are gone are no
// error.
func (tr *Tree) Release() error {
	var errs []error
	for _, th := range tr.Threads() {
		if err := th.release(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Kill ends every process of the tree and waits until all are gone. Zombies are
// left to their parents. No process sees the end of another one.
func (tr *Tree) Kill() error {
	var errs []error
	for _, p := range tr.Processes {
		if p.Zombie {
			continue
		}
		// The pid cannot have been given to another process: an attached one
		// stays until it is waited for.
		if l := p.Leader(); l == nil || l.gone {
			continue
		}
		if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d: %w", p.PID, err))
		}
	}
	if len(errs) > 0 {
		// Waiting for a process that was not killed would never end.
		return errors.Join(errs...)
	}
	// A process's parent learns of its end by this: when that of the root does,
	// nothing of the tree is left. Also the first process of a pid namespace ends
	// only after all others in it.
	for _, p := range slices.Backward(tr.Processes) {
		// The leader's end is reported after that of all others.
		for _, th := range slices.Backward(p.Threads) {
			if err := th.awaitEnd(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// awaitEnd waits until a thread that was killed is gone. A stop that was under
// way before the kill may be reported first.
func (th *Thread) awaitEnd() error {
	for {
		if _, err := th.Wait(); errors.Is(err, ErrGone) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// releaseLimit is how long release waits for a running thread to stop.
const releaseLimit = 200 * time.Millisecond

// release detaches a thread in whatever state it is; one that is gone is fine.
func (th *Thread) release() error {
	err := th.detachAnyhow()
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// detachAnyhow stops a thread if it runs, because the kernel detaches only
// stopped ones, and hands it the signal that it may have stopped for.
func (th *Thread) detachAnyhow() error {
	if th.stopped {
		return th.letRunOn()
	}
	if err := th.Interrupt(); err != nil {
		return err
	}
	p := newPause()
	for deadline := time.Now().Add(releaseLimit); ; {
		s, news, err := th.Poll()
		if err != nil {
			return err
		}
		if news {
			return errors.Join(th.releaseBorn(s), th.letRunOn())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("detach thread %d: it does not stop: %w", th.TID, ErrNotStopped)
		}
		p.wait()
	}
}

// letRunOn detaches a stopped thread, mended if somebody knows how.
func (th *Thread) letRunOn() error {
	if mend := th.tracer.Mend; mend != nil {
		// What cannot be mended runs on all the same.
		_ = mend(th)
	}
	return th.Detach(th.signal)
}

// releaseBorn lets go the task whose birth a stop reports: it is attached too.
func (th *Thread) releaseBorn(s Stop) error {
	switch s.Event {
	case unix.PTRACE_EVENT_CLONE, unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
		return th.tracer.Adopt(int(s.Message)).release()
	default:
		return nil
	}
}
