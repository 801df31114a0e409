// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// allSignals as a mask blocks everything that can be blocked.
const allSignals = ^uint64(0)

// bit is a signal's place in a mask.
func bit(sig unix.Signal) uint64 { return 1 << (sig - 1) }

// Original is the state of a thread as it was when it was stopped, but for what
// Mend does, however often the thread was used since. It is unfolded: see
// State.Folded and Capture.
func (r *Runner) Original(th *ptrace.Thread) (State, error) {
	if r.live == nil {
		return Capture(th)
	}
	if s, ok := r.live.original[th]; ok {
		return s, nil
	}
	// First, so that a tracer that is killed later leaves no trace in it.
	if err := Mend(th); err != nil {
		return State{}, err
	}
	s, err := Capture(th)
	if err != nil {
		return State{}, err
	}
	r.live.original[th] = s
	r.live.groupStop[th] = th.GroupStop
	return s, nil
}

// Rename says which call a thread was stopped in, for one that does not know it any
// more (restart_syscall). It is for a live target, before the thread is used.
func (r *Runner) Rename(th *ptrace.Thread, nr int64) error {
	s, err := r.Original(th)
	if err != nil {
		return err
	}
	s.Registers.SetSyscallNumber(nr)
	r.live.original[th] = s
	return nil
}

// enter moves a live thread into the stub's code, guarded by a frame in the
// area. Whenever crtime dies, the thread has its own registers, or the next thing
// it does is to take them back.
func (r *Runner) enter(th *ptrace.Thread) error {
	s, err := r.Original(th)
	if err != nil {
		return err
	}
	if _, ok := r.live.signals[th]; !ok {
		if err := r.barred(th, s); err != nil {
			return err
		}
		if _, err := r.obstacles(th); err != nil {
			return err
		}
	}
	offset := uint64(frameOffset)
	if th == r.leader {
		offset = leaderFrameOffset
	}
	b, frame, err := signalFrame(r.area+offset+frameSize, r.fallback(th, s), r.area+codeOffset+entryLeave)
	if err != nil {
		return err
	}
	if len(b) > frameSize {
		return fmt.Errorf("a signal frame takes %d bytes on this machine, and there are %d", len(b), frameSize)
	}
	if err := r.Write(frame, b); err != nil {
		return err
	}
	// Where rt_sigreturn is called the frame's first word has been taken off.
	sp := frame + wordSize
	if th == r.leader {
		r.live.shelter.leaderSP = sp
	} else {
		r.live.shelter.otherSP = sp
	}
	return r.takeOver(th, s, r.enterAt(th, s.Registers, entryLeave), r.workMask(th))
}

// takeOver gives a thread other registers and then another mask: without a
// tracer, what is blocked before stays blocked for ever.
func (r *Runner) takeOver(th *ptrace.Thread, s State, regs ptrace.Registers, mask uint64) error {
	if th != r.leader || !r.live.touched {
		// A thread in sigsuspend and its kin has that call's mask still. A signal
		// must not come between: it would run its handler, and the call would wait
		// for it in vain. With its own mask the call is made again, and sees it.
		if err := th.SetSignalMask(s.Mask); err != nil {
			return err
		}
	}
	if th == r.leader {
		r.live.touched = true
	}
	if err := th.SetRegisters(regs); err != nil {
		return err
	}
	return th.SetSignalMask(mask)
}

// fallback is the state that a thread takes by itself if crtime dies.
func (r *Runner) fallback(th *ptrace.Thread, s State) State {
	s = s.mended()
	waiting := r.live.signals[th]
	if waiting.pending&waiting.caught&^s.Mask == 0 {
		return s.Folded()
	}
	// A handler runs before the thread does anything else.
	return s.foldedForHandler()
}

// wordSize is the size of a return address.
const wordSize = 8

// workMask is the mask of a thread that runs our code.
func (r *Runner) workMask(th *ptrace.Thread) uint64 {
	if sig := r.signalFor(th); sig != 0 {
		return allSignals &^ bit(sig)
	}
	return allSignals
}

// restore gives a live thread its own state again, in a stop in which the kernel
// takes care of an interrupted system call.
func (r *Runner) restore(th *ptrace.Thread) error {
	s, ok := r.live.original[th]
	if !ok {
		return nil
	}
	if r.signalFor(th) == 0 {
		if err := r.settle(th); err != nil {
			return err
		}
	}
	return r.putBack(th, s)
}

// putBack writes a thread's own state.
func (r *Runner) putBack(th *ptrace.Thread, s State) error {
	// The mask first: the frame restores it too, the registers restore nothing.
	err := th.SetSignalMask(s.Mask)
	if err == nil {
		err = th.SetRegisters(s.mended().Registers)
	}
	th.GroupStop = r.live.groupStop[th]
	return err
}

// signalFor is the signal that ends a batch in the thread; 0: none can.
func (r *Runner) signalFor(th *ptrace.Thread) unix.Signal {
	if r.live == nil || r.signal == 0 {
		return r.signal
	}
	// A signal that the thread blocks waits for it: it must not be dropped.
	if s, ok := r.live.original[th]; ok && s.Mask&bit(r.signal) != 0 {
		return 0
	}
	return r.signal
}

// ignoreGone is nil for the end of a thread.
func ignoreGone(err error) error {
	if errors.Is(err, ptrace.ErrGone) {
		return nil
	}
	return err
}
