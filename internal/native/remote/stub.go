// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Stub is a process that crtime made. In the beginning it consists of the
// runner's area alone: no other memory, no open file, all signals blocked. It is
// killed when crtime ends, until it is detached.
type Stub struct {
	*Runner
	// Thread is the process's first thread.
	Thread *ptrace.Thread

	tracer  *ptrace.Tracer
	threads []*ptrace.Thread // All, Thread first.
}

// newStub makes a Stub for a thread that stands stopped in a process with the
// stub's area in it.
func newStub(t *ptrace.Tracer, th *ptrace.Thread, area uint64) (*Stub, error) {
	_, stop, err := stubCode()
	if err != nil {
		return nil, err
	}
	return &Stub{
		// SIGSTOP cannot be blocked, caught or ignored, whatever is done to the
		// process, and is never seen by it.
		Runner:  &Runner{pid: th.TID, leader: th, area: area, stop: stop, signal: unix.SIGSTOP, alone: true},
		Thread:  th,
		tracer:  t,
		threads: []*ptrace.Thread{th},
	}, nil
}

// cloneArgsSize is the size of struct clone_args (linux/sched.h) with set_tid.
const cloneArgsSize = 80

// cloneArgs is struct clone_args.
type cloneArgs struct {
	flags, exitSignal uint64
	setTID            uint64 // The address of a pid_t.
}

// encode lays the arguments out as the kernel wants them.
func (a cloneArgs) encode() []byte {
	var b [cloneArgsSize]byte
	put := func(field int, v uint64) { le.PutUint64(b[8*field:], v) }
	put(0, a.flags)
	put(4, a.exitSignal)
	put(8, a.setTID)
	put(9, 1)
	return b[:]
}

// Fork makes a child of the stub with the process number pid. flags are CLONE_
// flags; the low byte is the signal that the parent gets at the child's end, 0
// for SIGCHLD. The child has a copy of the parent's memory, area included, and of
// everything else that fork copies.
//
// The error is ErrPIDTaken when the number is in use and ErrNotAllowed when the
// kernel does not let crtime choose.
func (s *Stub) Fork(pid int, flags uint64) (*Stub, error) {
	all, err := s.ForkAll([]int{pid}, flags)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// ForkAll is Fork for many children at once, which is faster. They are made in the
// order of pids, and so are the results. After an error there is none.
func (s *Stub) ForkAll(pids []int, flags uint64) ([]*Stub, error) {
	exit := flags & unix.CSIGNAL
	if exit == 0 {
		exit = uint64(unix.SIGCHLD)
	}
	var made []*ptrace.Thread
	for len(made) < len(pids) {
		part := pids[len(made):min(len(pids), len(made)+clonesAtOnce)]
		all, err := s.clone(part, flags&^unix.CSIGNAL, exit)
		made = append(made, all...)
		if err != nil {
			failed := part[min(len(all), len(part)-1)]
			return nil, errors.Join(fmt.Errorf("fork process %d from %d: %w", failed, s.PID(), err), killEach(made))
		}
	}
	children := make([]*Stub, len(made))
	for i, th := range made {
		var err error
		if children[i], err = newStub(s.tracer, th, s.area); err != nil {
			return nil, errors.Join(err, killEach(made))
		}
		// What the parent has in its scratch memory is in the child's too.
		children[i].used = s.used
	}
	return children, nil
}

// killEach ends processes of one thread each.
func killEach(made []*ptrace.Thread) error {
	var errs []error
	for _, th := range made {
		errs = append(errs, killAll([]*ptrace.Thread{th}))
	}
	return errors.Join(errs...)
}

// threadFlags make a clone a thread as every threads library does. The thread's
// own memory is set up by calls in it.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM

// NewThread makes a further thread in the stub's process, with the thread number
// tid. RunIn runs calls in it. The errors are those of Fork.
func (s *Stub) NewThread(tid int) (*ptrace.Thread, error) {
	all, err := s.NewThreads([]int{tid})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// NewThreads is NewThread for many threads at once, which is faster. They are made
// in the order of tids, and so are the results. On an error those that were made
// remain, and only Kill is of use.
func (s *Stub) NewThreads(tids []int) ([]*ptrace.Thread, error) {
	made := make([]*ptrace.Thread, 0, len(tids))
	// Not while they are made either.
	s.alone = false
	for len(made) < len(tids) {
		part := tids[len(made):min(len(tids), len(made)+clonesAtOnce)]
		all, err := s.clone(part, threadFlags, 0)
		s.threads = append(s.threads, all...)
		if err != nil {
			// As many as there are now came into being before the one that failed.
			return nil, fmt.Errorf("make thread %d of process %d: %w", part[min(len(all), len(part)-1)], s.PID(), err)
		}
		made = append(made, all...)
	}
	return made, nil
}

// clonesAtOnce is how many tasks one batch makes: their arguments lie in the
// scratch memory.
const clonesAtOnce = 64

// clone has the stub call clone3 for each number and waits until the new tasks
// stand still, in the stub's code right behind the call. On an error the result is
// what was made before.
func (s *Stub) clone(tids []int, flags, exit uint64) ([]*ptrace.Thread, error) {
	const size = cloneArgsSize + scratchAlign // With the number behind them.
	used := s.used
	defer func() { s.used = used }()
	at, err := s.Alloc(size * len(tids))
	if err != nil {
		return nil, err
	}
	b := make([]byte, size*len(tids))
	calls := make([]Call, len(tids))
	for i, tid := range tids {
		addr := at + uint64(i*size)
		copy(b[i*size:], cloneArgs{flags: flags, exitSignal: exit, setTID: addr + cloneArgsSize}.encode())
		le.PutUint32(b[i*size+cloneArgsSize:], uint32(tid))
		calls[i] = Call{Name: "clone3", Nr: unix.SYS_CLONE3, Args: [6]uint64{addr, cloneArgsSize}, Must: true}
	}
	if err := s.Write(at, b); err != nil {
		return nil, err
	}
	s.born = s.born[:0]
	failed := s.Run(calls)
	made, err := s.adopt(s.born)
	if failed != nil {
		return made, errors.Join(cloneError(failed), err)
	}
	if err == nil && len(made) != len(tids) {
		err = fmt.Errorf("the kernel reported %d new tasks after clone3, not %d", len(made), len(tids))
	}
	return made, err
}

// cloneError says what a refusal of clone3 means.
func cloneError(err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %w", ErrPIDTaken, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	default:
		return err
	}
}

// adopt takes over new tasks and waits for their first stops. It returns all of
// them in any case: who was traced once is to be waited for.
func (s *Stub) adopt(tids []int) ([]*ptrace.Thread, error) {
	all := make([]*ptrace.Thread, 0, len(tids))
	var errs []error
	for _, tid := range tids {
		th := s.tracer.Adopt(tid)
		all = append(all, th)
		// It inherited from its parent that it dies with crtime. Seizing what is
		// attached already only makes a note of that.
		if _, err := s.tracer.SeizeOwn(tid); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, awaitInterrupted(th))
	}
	return all, errors.Join(errs...)
}

// Kill ends the process and waits until it is gone. Its children are not killed;
// of one that is not crtime's own child a zombie stays until its parent ends. A
// process that is gone or was detached is left alone.
func (s *Stub) Kill() error {
	s.closed = true
	return killAll(s.threads)
}

// killAll ends a process, or several, and waits for all of their threads. A
// process's first thread stands before its others.
func killAll(threads []*ptrace.Thread) error {
	for _, th := range threads {
		// The number of one that was waited for may be a stranger's by now.
		if err := th.Interrupt(); errors.Is(err, ptrace.ErrGone) {
			continue
		}
		if err := unix.Kill(th.TID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", th.TID, err)
		}
	}
	// The end of the first thread is reported after that of all others.
	for i, th := range slices.Backward(threads) {
		for {
			wait := th.Wait
			if i == 0 {
				wait = func() (ptrace.Stop, error) { return waitFirst(th) }
			}
			_, err := wait()
			if errors.Is(err, ptrace.ErrGone) {
				break
			}
			if err != nil {
				return fmt.Errorf("kill thread %d: %w", th.TID, err)
			}
		}
	}
	return nil
}
