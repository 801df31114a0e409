// SPDX-License-Identifier: Apache-2.0

package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/urgent"
)

// mostSteps is how often a thread is sent on to leave the vdso. A program that
// does nothing but read clocks is outside at every third try.
const mostSteps = 64

// leaveVDSO lets every thread that was stopped in the vdso run on until it is
// outside, and reports whether there was one: a thread that has computed half a
// clock reading would finish it with the other half of another time namespace.
// Everything else stands still meanwhile.
//
// The thread is continued and interrupted rather than stepped: a single-stepped
// thread dies of SIGTRAP when its tracer does.
func leaveVDSO(tree *ptrace.Tree) (moved bool, err error) {
	for _, p := range tree.Processes {
		if p.Zombie {
			continue
		}
		v, err := vdsoOf(p.PID)
		if err != nil {
			return moved, err
		}
		for _, th := range p.Threads {
			ran, err := v.leave(th)
			if err != nil {
				return moved, fmt.Errorf("let thread %d leave the vdso: %w", th.TID, err)
			}
			moved = moved || ran
		}
	}
	return moved, nil
}

// errStays says that a thread could not be brought out of the vdso.
var errStays = errors.New("it is still inside after many tries; try again")

// leave sends one thread on until it stands outside, and reports whether it ran.
func (v *vdso) leave(th *ptrace.Thread) (ran bool, err error) {
	for range mostSteps {
		regs, err := th.Registers()
		if err != nil {
			return ran, err
		}
		inside, err := v.has(regs.PC())
		if err != nil || !inside {
			return ran, err
		}
		if err := proceed(th); err != nil {
			return true, err
		}
		ran = true
	}
	return ran, errStays
}

// moment is how long a thread runs at a time: long enough to be scheduled and to
// read a clock.
const moment = 20 * time.Microsecond

// proceed lets a thread run for a moment. A signal that arrives meanwhile is
// delivered.
func proceed(th *ptrace.Thread) error {
	sig := unix.Signal(0)
	for {
		if err := th.Continue(sig); err != nil {
			return err
		}
		// An interruption that comes at once leaves it where it is.
		urgent.Sleep(moment)
		if err := th.Interrupt(); err != nil {
			return err
		}
		stop, err := th.Wait()
		if err != nil {
			return err
		}
		switch stop.Kind {
		case ptrace.Interrupted, ptrace.GroupStop:
			return nil
		case ptrace.SignalStop:
			sig = stop.Signal
		case ptrace.EventStop:
			return errors.New("it made a new task while the tree was stopped; try again")
		default:
			sig = 0
		}
	}
}

// vdso is where the vdso of a process is.
type vdso struct {
	pid      int
	from, to uint64 // Equal if it has none.
	exact    bool   // Otherwise to may lie behind its end.
}

// mostVDSO is more than a vdso has on any kernel: it takes a few pages.
const mostVDSO = 64 << 10

// vdsoOf finds it. The auxiliary vector says where it begins, and is much faster to
// read than the mappings, which are asked for the end when it matters.
func vdsoOf(pid int) (*vdso, error) {
	auxv, err := proc.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return nil, fmt.Errorf("look for the vdso of process %d: %w", pid, err)
	}
	for pair := range slices.Chunk(auxv, 2*wordSize) {
		if len(pair) == 2*wordSize && binary.NativeEndian.Uint64(pair) == atSysinfoEHDR {
			from := binary.NativeEndian.Uint64(pair[wordSize:])
			return &vdso{pid: pid, from: from, to: from + mostVDSO}, nil
		}
	}
	return &vdso{pid: pid, exact: true}, nil
}

// has reports whether an address lies in it.
func (v *vdso) has(addr uint64) (bool, error) {
	if addr < v.from || addr >= v.to || v.exact {
		return v.from <= addr && addr < v.to, nil
	}
	areas, err := maps.Read(v.pid)
	if err != nil {
		return false, fmt.Errorf("look for the vdso of process %d: %w", v.pid, err)
	}
	v.to, v.exact = v.from, true
	for _, a := range areas {
		if a.Path == "[vdso]" {
			v.from, v.to = a.Start, a.End
		}
	}
	return v.has(addr)
}

// atSysinfoEHDR is AT_SYSINFO_EHDR of getauxval(3).
const atSysinfoEHDR = 33

// wordSize is the size of a number in the auxiliary vector.
const wordSize = 8
