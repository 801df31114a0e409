// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/crtime/crtime/internal/proc"
)

// errClockRead says that a thread was stopped in the middle of reading a clock.
//
// The kernel's vdso computes a clock in user space from two parts: what the host
// has, and the time namespace's offset. A thread that is stopped between the two
// holds one part of the old namespace, and adds the other of the new one after
// the restore: one reading that is wrong, and the next one steps back from it.
// Observed: 75 ms and 904 ms, in one of some hundred restores of a program that
// does nothing but read clocks. An engine that drives the threads itself can
// step them out; CRIU cannot, so the tree is let go and stopped again.
var errClockRead = errors.New("a thread was stopped in the middle of reading a clock")

// clockReader returns a thread of a stopped tree that stands in the vdso, 0 if
// there is none. It must be asked before an engine runs anything in the tree.
func clockReader(s *proc.Snapshot) (int, error) {
	for _, task := range s.Tasks {
		if task.Zombie {
			continue
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", task.PID))
		if err != nil {
			return 0, err
		}
		from, to, ok := vdsoRange(maps)
		if !ok {
			continue
		}
		for _, tid := range task.Threads {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", task.PID, tid))
			if err != nil {
				return 0, err
			}
			if pc, ok := programCounter(line); ok && from <= pc && pc < to {
				return tid, nil
			}
		}
	}
	return 0, nil
}

// vdsoRange finds the vdso in the text of /proc/PID/maps.
func vdsoRange(maps []byte) (from, to uint64, ok bool) {
	for line := range bytes.Lines(maps) {
		if !bytes.HasSuffix(bytes.TrimSpace(line), []byte("[vdso]")) {
			continue
		}
		span, _, _ := bytes.Cut(line, []byte(" "))
		low, high, found := bytes.Cut(span, []byte("-"))
		if !found {
			return 0, 0, false
		}
		from, errFrom := strconv.ParseUint(string(low), 16, 64)
		to, errTo := strconv.ParseUint(string(high), 16, 64)
		return from, to, errFrom == nil && errTo == nil
	}
	return 0, 0, false
}

// programCounter takes the last field of /proc/PID/task/TID/syscall, which has
// it for every thread that does not run; see proc_pid_syscall(5).
func programCounter(line []byte) (uint64, bool) {
	fields := bytes.Fields(line)
	if len(fields) < 3 {
		return 0, false
	}
	pc, err := strconv.ParseUint(string(bytes.TrimPrefix(fields[len(fields)-1], []byte("0x"))), 16, 64)
	return pc, err == nil
}
