// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/crtime/crtime/internal/proc"
)

// freezer is a control group that an engine freezes before it stops the tree in it by
// ptrace. CRIU does, where a container runtime names one, and looks whether it is frozen
// ten times a second only: the tree stands still long before it is traced.
type freezer struct {
	state string // The file that tells.
	says  []byte // What it holds when all are frozen.
	// dirs are the group's and of all below, when the watch began. Who is in a later one
	// counts as being in none.
	dirs []string
}

// newFreezer looks which kind of control group is at a path; nil if there is none.
func newFreezer(dir string) *freezer {
	if dir == "" {
		return nil
	}
	for _, f := range []*freezer{
		{state: filepath.Join(dir, "freezer.state"), says: []byte("FROZEN")},   // Version 1.
		{state: filepath.Join(dir, "cgroup.events"), says: []byte("frozen 1")}, // Version 2.
	} {
		if _, err := os.Stat(f.state); err != nil {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				f.dirs = append(f.dirs, path)
			}
			return err
		})
		if err != nil {
			return nil // It is being removed.
		}
		return f
	}
	return nil
}

// frozen reports whether all processes in the group are.
func (f *freezer) frozen() bool {
	text, err := os.ReadFile(f.state)
	return err == nil && bytes.Contains(text, f.says)
}

// holds reports whether every living process of a tree is in the group or below.
func (f *freezer) holds(s *proc.Snapshot) bool {
	members := map[int]bool{}
	for _, dir := range f.dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // Who was in it is in none.
		}
		for line := range bytes.Lines(text) {
			if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil {
				members[pid] = true
			}
		}
	}
	for _, t := range s.Tasks {
		if !t.Zombie && !members[t.PID] {
			return false
		}
	}
	return true
}

// traced reports whether every thread of a tree has a tracer.
func traced(s *proc.Snapshot) bool {
	for _, t := range s.Tasks {
		if t.Zombie {
			continue
		}
		for _, tid := range t.Threads {
			if status, err := proc.ReadStatus(tid); err != nil || status.TracerPID == 0 {
				return false
			}
		}
	}
	return true
}

// chill is what is known of a tree whose control group was frozen before it was traced.
// The moment at which that was seen is the freeze instant if from then on, until every
// thread had a tracer, the group was seen frozen each time: whoever traces thaws it
// afterwards, and a traced thread stops before it is back in its program.
type chill struct {
	group  *freezer // nil: there is none.
	seen   *freeze  // nil: not frozen yet.
	traced bool     // Every thread has had a tracer, and the group was still frozen.
	// missed is what was seen, if the next scan found the group thawed, and every thread
	// with a tracer. Which of both came first is not known, so this is not the freeze
	// instant, but that may have been so early. nil: it was not missed.
	missed *freeze
}

// look takes notice of one more scan. frozen is whether the group was, before the scan;
// record reads the clocks. They are read first, and what takes longer is asked afterwards:
// the tree stands still meanwhile, and would be seen to have stopped so much later.
func (c *chill) look(frozen bool, now *proc.Snapshot, record func() *freeze) {
	switch {
	case c.group == nil || c.traced:
	case !frozen:
		if c.seen != nil {
			c.missed, c.seen = c.seen, nil
		}
		if c.missed != nil && !traced(now) {
			c.missed = nil // It was another's freezing, or went wrong.
		}
	case c.seen == nil:
		if c.seen = record(); !c.group.holds(now) {
			c.seen = nil
		}
	case !c.seen.snapshot.Same(now):
		c.seen = nil
	default:
		// Once more: the group is to be frozen after every thread was seen traced.
		c.traced = traced(now) && c.group.frozen()
	}
}

// instead returns what was known earlier than f, if it is of the same tree. If that was
// missed, it is f, whose window then reaches back so far.
func (c *chill) instead(f *freeze) *freeze {
	switch {
	case f == nil:
	case c.traced && c.seen.snapshot.Same(f.snapshot):
		return c.seen
	case c.missed != nil && c.missed.snapshot.Same(f.snapshot):
		f.window = f.reading.Monotonic - c.missed.reading.Monotonic + c.missed.window
	}
	return f
}
