// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// The options of ptrace(2) that every traced thread has: system call stops can
// be told from SIGTRAP, and new threads and processes are traced from birth.
const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK

// ownOptions are for processes that crtime made: they end with crtime, and an
// exec is reported.
const ownOptions = options | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACEEXEC

// Tracer is the thread that traces others. It lives as long as the function
// that was given to Run.
type Tracer struct {
	// Mend is called for every stopped thread that is let go because a tree is
	// released, or could not be frozen whole: some system calls would otherwise
	// show the program that it was stopped. nil: nothing is mended.
	Mend func(*Thread) error
	// StandsStill is called by Freeze when all threads that it knows have stopped, and
	// again when others have that it did not know. When Freeze returns a tree, no thread
	// of it has run since the last call. It is given the processes that stand, each as
	// far as it is known then. nil: nobody wants to know.
	StandsStill func([]*Process)

	tid     int             // Of the thread that Run made.
	threads map[int]*Thread // Everything attached to it.
	scratch []byte          // For register sets whose size the kernel knows.
}

// Run calls f on an operating system thread of its own and returns f's error.
// When f returns, threads that are still attached are let go, those of SeizeOwn
// are killed, and the operating system thread ends. A child process that was
// made on it and has a parent-death signal gets that signal then.
//
// Several Runs may go on at the same time.
func Run(f func(*Tracer) error) error {
	quietStops()
	done := make(chan error, 1)
	go func() {
		err := errors.New("the function for the tracer has ended its goroutine")
		defer func() { done <- err }() // Also if f calls runtime.Goexit, as a failing test does.
		err = onThread(f)
	}()
	return <-done
}

// onThread locks a thread and calls f. The lock is not undone, so the thread
// ends with the goroutine, and with it everything it traces is detached by the
// kernel, however f ended.
func onThread(f func(*Tracer) error) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// Go parks the process's first thread instead of ending it, so tracees
		// would stay attached for ever. While it is locked here, another
		// goroutine gets another thread.
		defer runtime.UnlockOSThread()
		return Run(f)
	}
	t := &Tracer{tid: unix.Gettid(), threads: make(map[int]*Thread)}
	err := f(t)
	t.letGo()
	return err
}

// Seize begins to trace a thread without stopping it. New threads and children
// of it will be traced too; Wait reports them as EventStop, and Adopt gives
// them a Thread.
//
// The error is ErrGone when there is no such thread or it has ended, a
// *TracedError when it has a tracer already, a *PermissionError when the
// kernel refuses, and ErrSelf for a thread of crtime.
func (t *Tracer) Seize(tid int) (*Thread, error) { return t.seize(tid, options) }

// SeizeOwn is Seize for a process that crtime made: the kernel kills it when the
// tracer ends, and its exec is an EventStop.
func (t *Tracer) SeizeOwn(tid int) (*Thread, error) {
	th, err := t.seize(tid, ownOptions)
	if err == nil {
		th.own = true
	}
	return th, err
}

// Adopt gives a Thread to a task that the kernel attached by itself, as an
// EventStop's Message names it. Its first stop is still to be waited for: an
// Interrupted one, unless the task was killed. Adopting a thread that is
// attached already gives the same Thread.
func (t *Tracer) Adopt(tid int) *Thread {
	if th := t.threads[tid]; th != nil {
		return th
	}
	th := &Thread{TID: tid, tracer: t}
	t.threads[tid] = th
	return th
}

// mostTries bounds how often a refusal is tried again that cannot be explained.
const mostTries = 10

// seize is Seize with options.
func (t *Tracer) seize(tid, opts int) (*Thread, error) {
	if th := t.threads[tid]; th != nil {
		return th, nil
	}
	for try := 1; ; try++ {
		err := t.attach(tid, opts)
		if err == nil {
			break
		}
		if err = t.seizeError(tid, err); err == nil {
			break
		}
		// A process in the middle of an exec that another thread than the first
		// has called refuses like a zombie, and is none a moment later.
		if denied := (*PermissionError)(nil); errors.As(err, &denied) && !denied.Kernel && try < mostTries {
			continue
		}
		return nil, fmt.Errorf("begin to trace thread %d: %w", tid, err)
	}
	return t.Adopt(tid), nil
}

// attach makes the request of Seize. The caller adopts the thread.
func (t *Tracer) attach(tid, opts int) error {
	return request(unix.PTRACE_SEIZE, tid, 0, uintptr(opts))
}

// seizeError finds out what a refused seize meant. EPERM has many reasons, one of
// which is no error: the thread was attached at its birth, and its maker was
// killed before it could report that.
func (t *Tracer) seizeError(tid int, err error) error {
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	status, serr := proc.ReadStatus(tid)
	if serr != nil {
		return serr
	}
	if status.ThreadGroup == os.Getpid() {
		return ErrSelf
	}
	st, serr := proc.ReadStat(tid)
	if serr != nil {
		return serr
	}
	if st.State == proc.Zombie || st.State == proc.Dead {
		return ErrGone
	}
	switch status.TracerPID {
	case t.tid:
		return nil
	case 0:
		return &PermissionError{TID: tid, Kernel: st.KernelThread()}
	}
	e := &TracedError{TID: tid, Tracer: status.TracerPID}
	if tracer, serr := proc.ReadStat(e.Tracer); serr == nil {
		e.Comm = tracer.Comm
	}
	return e
}

// letGo detaches everything that can be detached and that is not crtime's own.
// What remains is detached, or killed, by the kernel when the thread ends.
func (t *Tracer) letGo() {
	for _, th := range t.threads {
		if !th.own {
			// A thread that is already gone or cannot be stopped is the kernel's.
			_ = th.release()
		}
	}
}
