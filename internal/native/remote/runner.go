// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Runner runs batches of calls in the threads of one stopped process. It is not
// safe for concurrent use; the ptrace thread alone may use it.
//
// The area in the target (see Area) holds the code, a table of calls, memory
// for arguments, and in a live target the signal frames that bring a thread back
// to what it was doing when its tracer dies: after that the thread completes the
// batch that it was given, and goes on. The area then stays behind.
type Runner struct {
	pid    int
	leader *ptrace.Thread
	area   uint64
	stop   uint64 // Where a thread stands that has gone through its table.
	used   int    // Of the scratch memory.
	// signal is what stops a thread at the end of a batch. 0: nothing can that
	// would be harmless without a tracer, and each call is made by itself.
	signal unix.Signal
	closed bool
	alone  bool   // The process has one thread, for certain.
	pause  func() // Lets others go on while the process is at work; nil: there are none.

	// live is nil for a stub, which has nothing to be kept safe.
	live *live
	// born collects the threads and processes that calls have made.
	born []int
}

// live is what a Runner keeps of a target that is somebody else's.
type live struct {
	original  map[*ptrace.Thread]State
	groupStop map[*ptrace.Thread]unix.Signal
	signals   map[*ptrace.Thread]signals // Of those without obstacles.
	gadgets   gadgets
	shelter   shelter

	touched bool // The leader's registers are not its own.
	mapped  bool // The area is there.
}

// PID is the process's number: that of the thread given to Attach.
func (r *Runner) PID() int { return r.pid }

// Run makes the calls in the leader, in order. A call that fails is no error
// unless it has Must: then it ends the batch, and Run returns its *CallError.
// Any other error means that the target is lost or out of control.
func (r *Runner) Run(calls []Call) error { return r.RunIn(r.leader, calls) }

// RunIn is Run in another thread of the same process, which must be stopped.
func (r *Runner) RunIn(th *ptrace.Thread, calls []Call) error {
	if err := r.prepare(calls); err != nil {
		return err
	}
	if len(calls) == 0 {
		return nil
	}
	return verdict(th, calls, r.runIn(th, calls))
}

// prepare checks a batch before anything is touched.
func (r *Runner) prepare(calls []Call) error {
	if r.closed {
		return fmt.Errorf("run calls in process %d: its runner is closed", r.pid)
	}
	if err := checkFrom(calls); err != nil {
		return err
	}
	for i := range calls {
		calls[i].Done, calls[i].Ret = false, 0
	}
	return nil
}

// verdict is the error of a batch of which err is known.
func verdict(th *ptrace.Thread, calls []Call, err error) error {
	if err != nil {
		return fmt.Errorf("run calls in thread %d: %w", th.TID, err)
	}
	for i := range calls {
		if calls[i].Must && calls[i].Done && calls[i].failed() {
			return calls[i].Err()
		}
	}
	return nil
}

// runIn has a live thread guarded while it is used.
func (r *Runner) runIn(th *ptrace.Thread, calls []Call) error {
	if r.live == nil || th == r.leader {
		return r.batches(th, calls)
	}
	if err := r.enter(th); err != nil {
		return err
	}
	err := r.batches(th, calls)
	if back := r.restore(th); err == nil {
		err = back
	}
	return err
}

// batches makes the calls in a thread that is ready for our code.
func (r *Runner) batches(th *ptrace.Thread, calls []Call) error {
	if r.signalFor(th) == 0 {
		return r.stepAll(th, calls)
	}
	for first := 0; first < len(calls); first += tableCalls {
		last := min(first+tableCalls, len(calls))
		if err := r.table(th, calls, first, last); err != nil {
			return err
		}
		if !goesOn(calls[first:last]) {
			return nil
		}
	}
	return nil
}

// goesOn says whether a batch was completed.
func goesOn(calls []Call) bool {
	last := &calls[len(calls)-1]
	return last.Done && (!last.Must || !last.failed())
}

// table has the stub's code make calls[first:last].
func (r *Runner) table(th *ptrace.Thread, calls []Call, first, last int) error {
	b, err := r.begin(th, calls, first, last)
	if err != nil {
		return err
	}
	return r.finish(th, b, calls[first:last])
}

// begin lets a thread run through a table of calls[first:last]. Until finish,
// which takes the table, the thread is on its own and nothing of the runner may
// be used.
func (r *Runner) begin(th *ptrace.Thread, calls []Call, first, last int) (table []byte, err error) {
	b := encodeTable(calls, first, last, int(r.signal))
	at := r.area + tableOffset
	// Nothing has told the thread of the table yet: half of one does no harm.
	if err := r.Write(at, b); err != nil {
		return nil, err
	}
	regs, err := th.Registers()
	if err != nil {
		return nil, err
	}
	regs = r.enterAt(th, regs, entryTable)
	setTable(&regs, at)
	if err := th.SetRegisters(regs); err != nil {
		return nil, err
	}
	return b, th.Continue(0)
}

// finish waits for the end of a table and takes the results.
func (r *Runner) finish(th *ptrace.Thread, table []byte, calls []Call) error {
	if err := r.awaitEnd(th); err != nil {
		return err
	}
	if err := r.Read(r.area+tableOffset, table); err != nil {
		return err
	}
	decodeTable(table, calls)
	return nil
}

// enterAt makes a thread go on in the stub's code. In a live target SP is where
// rt_sigreturn wants it; a stub has no stack.
func (r *Runner) enterAt(th *ptrace.Thread, regs ptrace.Registers, entry uint64) ptrace.Registers {
	sp := uint64(0)
	switch {
	case r.live == nil:
	case th == r.leader:
		sp = r.live.shelter.leaderSP
	default:
		sp = r.live.shelter.otherSP
	}
	return at(regs, r.area+codeOffset+entry, sp)
}

// awaitEnd waits until a thread stands at the end of its batch.
func (r *Runner) awaitEnd(th *ptrace.Thread) error {
	for {
		s, err := r.wait(th)
		if err != nil {
			return err
		}
		if s.Kind == ptrace.SignalStop && s.Signal == r.signal {
			regs, err := th.Registers()
			if err != nil {
				return err
			}
			if regs.PC() == r.area+codeOffset+r.stop {
				return nil
			}
		}
		sig, err := r.pass(th, s)
		if err != nil {
			return err
		}
		if err := th.Continue(sig); err != nil {
			return err
		}
	}
}

// pass says what to do about a stop that is not the one waited for: the signal
// to give to the thread.
func (r *Runner) pass(th *ptrace.Thread, s ptrace.Stop) (unix.Signal, error) {
	switch s.Kind {
	case ptrace.EventStop:
		switch s.Event {
		case unix.PTRACE_EVENT_CLONE, unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
			r.born = append(r.born, int(s.Message))
		}
	case ptrace.GroupStop:
		// Somebody stops the process meanwhile: the threads of a stopped process
		// can be used like others, and it is stopped when all is over.
		if r.live != nil {
			r.live.groupStop[th] = s.Signal
		}
	case ptrace.SignalStop:
		return r.passSignal(th, s.Signal)
	default:
	}
	return 0, nil
}

// passSignal is pass for a signal. All are blocked but SIGSTOP and the one that
// ends batches, which would do nothing in this process.
func (r *Runner) passSignal(th *ptrace.Thread, sig unix.Signal) (unix.Signal, error) {
	switch sig {
	case r.signal:
		return 0, nil
	case unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP:
		regs, err := th.Registers()
		if err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("the thread got %s at %#x in the middle of a batch", unix.SignalName(sig), regs.PC())
	default:
		return sig, nil
	}
}
