// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// stepAll makes each call by itself in a thread that is ready for our code.
func (r *Runner) stepAll(th *ptrace.Thread, calls []Call) error {
	for i := range calls {
		regs, err := th.Registers()
		if err != nil {
			return err
		}
		c := &calls[i]
		args, _ := resolve(calls, i, i)
		regs = r.enterAt(th, regs, entryStep)
		regs.SetCall(uint64(c.Nr), args)
		if c.Ret, err = r.step(th, regs); err != nil {
			return err
		}
		c.Done = true
		if c.Must && c.failed() {
			return nil
		}
	}
	return nil
}

// step makes the one call that regs are set for, and leaves the thread stopped at
// its end.
func (r *Runner) step(th *ptrace.Thread, regs ptrace.Registers) (int64, error) {
	if err := th.SetRegisters(regs); err != nil {
		return 0, err
	}
	return r.finishStep(th)
}

// finishStep is step for a thread whose registers are set.
func (r *Runner) finishStep(th *ptrace.Thread) (int64, error) {
	if err := r.awaitSyscallStop(th); err != nil { // The entry.
		return 0, err
	}
	if err := r.awaitSyscallStop(th); err != nil {
		return 0, err
	}
	regs, err := th.Registers()
	return regs.Result(), err
}

// awaitSyscallStop lets a thread run to its next stop before or after a call.
func (r *Runner) awaitSyscallStop(th *ptrace.Thread) error {
	sig := unix.Signal(0)
	for {
		if err := th.ContinueToSyscall(sig); err != nil {
			return err
		}
		s, err := r.wait(th)
		if err != nil {
			return err
		}
		if s.Kind == ptrace.SyscallStop {
			return nil
		}
		if sig, err = r.pass(th, s); err != nil {
			return err
		}
	}
}

// settle takes a thread out of the stop after a system call into one in which the
// kernel looks at interrupted system calls when the thread runs on. The thread
// runs no instruction between the two.
func (r *Runner) settle(th *ptrace.Thread) error {
	sig := unix.Signal(0)
	for {
		// Every other stop takes the place of the interruption.
		if err := th.Interrupt(); err != nil {
			return err
		}
		if err := th.Continue(sig); err != nil {
			return err
		}
		s, err := r.wait(th)
		if err != nil {
			return err
		}
		if s.Kind == ptrace.Interrupted || s.Kind == ptrace.GroupStop {
			if s.Kind == ptrace.GroupStop {
				_, err = r.pass(th, s)
			}
			return err
		}
		if sig, err = r.pass(th, s); err != nil {
			return err
		}
	}
}
