// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Leave ends the stub's part: it takes the area out of the process and gives
// each thread its state. The process must have code of its own by then, in which
// there is a system call instruction or room for one, and nothing of its own where
// the area is. threads must hold every
// thread of the process. All threads stay stopped; detaching lets them run.
//
// The states are taken to be Folded, unless they say Interrupted: an interrupted
// system call in one is not made again. After an error the process is good for nothing but Kill.
func (s *Stub) Leave(threads map[*ptrace.Thread]State) error {
	if s.closed {
		return fmt.Errorf("leave process %d: its runner is closed", s.PID())
	}
	for _, th := range s.threads {
		if _, ok := threads[th]; !ok {
			return fmt.Errorf("leave process %d: no state was given for its thread %d", s.PID(), th.TID)
		}
	}
	s.closed = true
	if err := s.unmapArea(threads); err != nil {
		return fmt.Errorf("leave process %d: take the stub out: %w", s.PID(), err)
	}
	for th, state := range threads {
		if state.Interrupted {
			if err := s.settle(th); err != nil {
				return fmt.Errorf("leave process %d: %w", s.PID(), err)
			}
		}
		if err := setState(th, state); err != nil {
			return fmt.Errorf("leave process %d: %w", s.PID(), err)
		}
	}
	return nil
}

// setState gives a thread its state.
func setState(th *ptrace.Thread, s State) error {
	if len(s.Extended) > 0 {
		if err := th.SetExtendedState(s.Extended); err != nil {
			return err
		}
	}
	if err := th.SetSignalMask(s.Mask); err != nil {
		return err
	}
	if !s.Interrupted {
		s.Registers.SetSyscallNumber(-1)
	}
	return th.SetRegisters(s.Registers)
}

// unmapArea unmaps the area by a system call instruction outside it.
func (s *Stub) unmapArea(threads map[*ptrace.Thread]State) error {
	pc, undo, err := s.findCall(threads)
	if err != nil {
		return err
	}
	regs, err := s.Thread.Registers()
	if err != nil {
		return err
	}
	regs = at(regs, pc, 0)
	regs.SetCall(unix.SYS_MUNMAP, [6]uint64{s.area, AreaSize})
	ret, err := s.step(s.Thread, regs)
	if err == nil && ret != 0 {
		err = &CallError{Name: "munmap", Errno: unix.Errno(-ret)}
	}
	return errors.Join(err, undo())
}

// findCall finds a system call instruction in the process outside the area. If
// there is none it makes one out of other code, until undo is called.
func (s *Stub) findCall(threads map[*ptrace.Thread]State) (pc uint64, undo func() error, err error) {
	start, end := s.Area()
	// Most threads were stopped in a system call, and stand before or behind it.
	for _, state := range threads {
		for _, at := range []uint64{state.Registers.PC(), state.Registers.PC() - syscallSize} {
			var code [syscallSize]byte
			if (at+syscallSize <= start || at >= end) && s.Read(at, code[:]) == nil && string(code[:]) == syscallInstruction {
				return at, func() error { return nil }, nil
			}
		}
	}
	all, err := readMappings(s.PID())
	if err != nil {
		return 0, nil, err
	}
	var outside []mapping
	for _, m := range all {
		if m.end <= start || m.start >= end {
			outside = append(outside, m)
		}
	}
	// The vdso is small, and every process that had one has it here.
	for _, m := range outside {
		if m.name == "[vdso]" {
			if g := findGadgets(s.PID(), []mapping{m}, m.start); g.call != 0 {
				return g.call, func() error { return nil }, nil
			}
		}
	}
	if g := findGadgets(s.PID(), outside, 0); g.call != 0 {
		return g.call, func() error { return nil }, nil
	}
	return s.plantCall(outside)
}

// plantCall overwrites the first instruction of private code.
func (s *Stub) plantCall(all []mapping) (pc uint64, undo func() error, err error) {
	for _, m := range all {
		if !m.executable() || m.perms[3] != 'p' || m.start >= highestAddress {
			continue
		}
		saved := make([]byte, len(syscallInstruction))
		if err := s.Read(m.start, saved); err != nil {
			continue
		}
		if err := WriteCode(s.PID(), m.start, []byte(syscallInstruction)); err != nil {
			return 0, nil, err
		}
		return m.start, func() error { return WriteCode(s.PID(), m.start, saved) }, nil
	}
	return 0, nil, &TargetError{PID: s.PID(), Why: "it has no code outside the stub"}
}
