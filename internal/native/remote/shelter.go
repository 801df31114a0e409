// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"fmt"
	"os"
)

// shelter is where frames are: in the area, and for the calls that map and unmap
// the area in a piece of the process's stack.
type shelter struct {
	leaderSP, otherSP uint64

	end   uint64 // The end of the piece of stack. 0: there is none.
	saved []byte // What was in it, while a frame is in it.
	at    uint64 // Where saved belongs.
}

// shelterSize is more than a frame takes on any machine.
const shelterSize = frameSize

// redZone is how far below the stack pointer a thread may use its stack.
const redZone = 128

// findShelter finds room for a frame: pages of the stack of the process's first
// thread that were never touched, so that nothing of anybody's can be there, or
// else what is below the thread's own stack pointer, if that is in the same
// stack. Stacks of other kinds may have anything below them.
func findShelter(pid int, all []mapping, sp uint64) (end uint64, err error) {
	for _, m := range all {
		if m.name != "[stack]" || m.perms[:2] != "rw" {
			continue
		}
		end, err := untouched(pid, m)
		if err != nil || end != 0 {
			return end, err
		}
		if sp > m.start+redZone+shelterSize && sp <= m.end {
			return (sp - redZone) &^ (wordSize - 1), nil
		}
	}
	return 0, nil
}

// untouched gives the end of the highest run of pages that are long enough for a
// shelter and hold nothing. Below it there is room for a signal handler.
func untouched(pid int, m mapping) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const pages = (shelterSize + pageSize - 1) / pageSize
	// A stack can be gigabytes; what is near its top is enough.
	const most = 4096
	start := m.start
	if m.end-start > most*pageSize {
		start = m.end - most*pageSize
	}
	b := make([]byte, (m.end-start)/pageSize*wordSize)
	if _, err := f.ReadAt(b, int64(start/pageSize*wordSize)); err != nil {
		return 0, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	run := 0
	for i := len(b) - wordSize; i >= 0; i -= wordSize {
		// Bit 63: present; 62: swapped out.
		if binary.LittleEndian.Uint64(b[i:])>>62 != 0 {
			run = 0
			continue
		}
		if run++; run == pages {
			return start + (uint64(i)/wordSize+pages)*pageSize, nil
		}
	}
	return 0, nil
}

// stepGuarded makes one call at an instruction of the process's own code, without
// the area. If there is a shelter, a frame in it brings the leader back should
// crtime die; if not, the time until the call's end is the one moment at which
// that would harm the process.
func (r *Runner) stepGuarded(c *Call) error {
	l := r.live
	s, err := r.Original(r.leader)
	if err != nil {
		return err
	}
	pc, sp := l.gadgets.call, s.Registers.SP()
	if r.Guarded() {
		if sp, err = r.putFrame(s); err != nil {
			return err
		}
		pc = l.gadgets.callReturn
	}
	regs := at(s.Registers, pc, sp)
	regs.SetCall(uint64(c.Nr), c.Args)
	if err := r.takeOver(r.leader, s, regs, allSignals); err != nil {
		return err
	}
	if c.Ret, err = r.finishStep(r.leader); err != nil {
		return err
	}
	c.Done = true
	return c.Err()
}

// putFrame puts a frame for the leader into the shelter.
func (r *Runner) putFrame(s State) (sp uint64, err error) {
	l := r.live
	b, frame, err := signalFrame(l.shelter.end, r.fallback(r.leader, s), l.gadgets.trampoline)
	if err != nil {
		return 0, err
	}
	if l.shelter.saved == nil {
		saved := make([]byte, len(b))
		if err := r.Read(frame, saved); err != nil {
			return 0, err
		}
		l.shelter.saved, l.shelter.at = saved, frame
	}
	return frame, r.Write(frame, b)
}

// clearShelter puts back what was on the stack. Nothing may need the frame there
// any more.
func (r *Runner) clearShelter() error {
	sh := &r.live.shelter
	if sh.saved == nil {
		return nil
	}
	err := r.Write(sh.at, sh.saved)
	sh.saved = nil
	return err
}

// Guarded says whether the target is safe also while the area is mapped and
// unmapped. It is not in a program without the code that handlers of signals
// return to, or whose first stack is in full use: SIGKILL of crtime within the
// some 100 microseconds that each takes would then harm it.
func (r *Runner) Guarded() bool {
	return r.live == nil || (r.live.gadgets.guarded() && r.live.shelter.end != 0)
}
