// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
)

// caseTimeout bounds a test, so that its programs are ended in good order
// before the whole binary is.
const caseTimeout = 3 * time.Minute

// Case is a lab for one test. Its methods end the test when a step fails.
type Case struct {
	testing.TB
	*Lab
	// Context ends with the test.
	Context context.Context
	// Folder is the test's own, on the lab's tmpfs.
	Folder string

	known []string // What may lie in Folder at the end.
	trees []*Tree
}

// Case prepares a test. When it ends, everything that it started is killed, and
// the test fails if a process, a mount or a file is left that it did not name.
func (l *Lab) Case(t testing.TB) *Case {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	c := &Case{TB: t, Lab: l, Context: ctx}
	folder, err := os.MkdirTemp(l.Dir, "case-*")
	c.Check(err)
	// Programs of other users need to come by.
	c.Check(os.Chmod(folder, 0o755))
	c.Folder = folder
	before, err := mounts()
	c.Check(err)
	running := descendants(os.Getpid())
	t.Cleanup(func() {
		defer cancel()
		c.end(before, running)
	})
	return c
}

func (c *Case) end(mountsBefore []string, running []int) {
	for _, t := range c.trees {
		if err := t.Kill(); err != nil {
			c.Error(err)
		}
	}
	for _, pid := range descendants(os.Getpid()) {
		if slices.Contains(running, pid) {
			continue
		}
		if s, ok := readStat(pid); ok && !s.zombie() {
			c.Errorf("process %v was left behind", s)
		}
		reap(pid)
	}
	after, err := mounts()
	if err != nil {
		c.Error(err)
	}
	for _, m := range after {
		if !slices.Contains(mountsBefore, m) {
			c.Errorf("the mount %s was left behind", m)
		}
	}
	c.NoLeftovers()
	if c.Failed() && os.Getenv("CRTIME_E2E_KEEP") != "" {
		c.Logf("kept %s", c.Folder)
		return
	}
	if err := os.RemoveAll(c.Folder); err != nil {
		c.Error(err)
	}
}

// NoLeftovers fails the test if there are files that nobody named: crtime writes
// images beside their final place, and CRIU and crtime may have temporary files.
func (c *Case) NoLeftovers() {
	c.Helper()
	for _, name := range names(c.Folder) {
		if !slices.Contains(c.known, name) {
			c.Errorf("%s was left behind in the test's folder", name)
		}
	}
	tmp := os.Getenv("TMPDIR")
	for _, name := range names(tmp) {
		// Java keeps this on purpose.
		if !strings.HasPrefix(name, "hsperfdata") {
			c.Errorf("%s was left behind in the temporary folder", name)
			if err := os.RemoveAll(filepath.Join(tmp, name)); err != nil {
				c.Error(err)
			}
		}
	}
}

// UseEngine has the test's dumps and restores done by one engine. The lab and its
// other tests are not concerned.
func (c *Case) UseEngine(name string) {
	own := *c.Lab
	own.Crtime.Engine = name
	c.Lab = &own
}

// Check ends the test if err is not nil.
func (c *Case) Check(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// Path names a file of the test's folder. Whatever lies there under a name that
// was not asked for is a leftover.
func (c *Case) Path(name string) string {
	c.known = append(c.known, name)
	return filepath.Join(c.Folder, name)
}

// Start starts a program and waits until it has printed a few records, if it
// is one of those that do.
func (c *Case) Start(p Program) *Tree {
	c.Helper()
	t := c.StartSilent(p)
	c.Check(t.WaitRecords(c.Context, 30))
	return t
}

// StartSilent starts a program that prints no records.
func (c *Case) StartSilent(p Program) *Tree {
	c.Helper()
	if p.Dir == "" {
		p.Dir = c.Folder
	}
	if p.Board != "" {
		c.Path(filepath.Base(p.Board))
	}
	t, err := Start(p, c.Path(p.Name+".out"))
	c.Check(err)
	c.trees = append(c.trees, t)
	return t
}

// Session starts a shell on a terminal, which ends with the test.
func (c *Case) Session() *Session {
	c.Helper()
	s, err := NewSession(c.Folder, "CRTIME_CRIU="+c.CRIU.Path)
	c.Check(err)
	c.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.Error(err)
		}
	})
	return s
}

// StartIn starts a program that prints no records in a session.
func (c *Case) StartIn(s *Session, p Program) *Tree {
	c.Helper()
	t, err := s.Start(c.Context, p, c.Path(p.Name+".out"))
	c.Check(err)
	c.trees = append(c.trees, t)
	return t
}

// Dump dumps a tree, which ends it, and waits until it is gone.
func (c *Case) Dump(t *Tree, images string, flags ...string) DumpResult {
	c.Helper()
	t.PIDs()
	r, err := c.Crtime.Dump(c.Context, t.PID, images, append(slices.Clone(t.Flags), flags...)...)
	c.Check(err)
	c.Check(t.Reap(c.Context))
	return r
}

// Restore restores a tree.
func (c *Case) Restore(t *Tree, images string, flags ...string) RestoreResult {
	c.Helper()
	r, err := c.Crtime.Restore(c.Context, images, append(slices.Clone(t.Flags), flags...)...)
	c.Check(err)
	if r.PID != t.PID {
		c.Fatalf("restored pid %d, want %d", r.PID, t.PID)
	}
	if !r.Kept {
		c.Errorf("crtime says that a promise was not kept: %+v", r.Clocks)
	}
	return r
}

// WaitRecords waits until the program has printed n more.
func (c *Case) WaitRecords(t *Tree, n int) {
	c.Helper()
	c.Check(t.WaitRecords(c.Context, n))
}

// GoodLog reads a program's log and fails the test if a clock went back in it,
// a record is missing, or the program itself complains.
func (c *Case) GoodLog(t *Tree) clocklog.Log {
	c.Helper()
	log, err := t.Log()
	c.Check(err)
	for _, b := range log.Backward() {
		c.Errorf("%s: %v", t.Name, b)
	}
	for _, note := range log.Complaints() {
		c.Errorf("%s says: %s", t.Name, note)
	}
	if err := log.Complete(); err != nil {
		c.Errorf("%s: %v", t.Name, err)
	}
	return log
}

// Need skips the test if err says that this machine lacks something, and ends
// it with any other error. With CRTIME_E2E_STRICT=1 it never skips.
func (c *Case) Need(err error) {
	c.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, ErrMissing) && os.Getenv("CRTIME_E2E_STRICT") != "1" {
		c.Skipf("this machine lacks something: %v", err)
	}
	c.Fatal(err)
}

// quiet is how long nothing of crtime's must be seen for Settle to believe it:
// a process that is just being handed to its next parent is in no list.
const quiet = 50 * time.Millisecond

// Settle waits until no crtime or CRIU that this process started, and nothing
// that has yet to become a restored process, runs any more.
func (c *Case) Settle() {
	c.Helper()
	since := time.Now()
	c.Check(wait(c.Context, "crtime and CRIU to end", func() (bool, error) {
		if c.busy() {
			since = time.Now()
		}
		return time.Since(since) > quiet, nil
	}))
}

func (c *Case) busy() bool {
	for _, pid := range descendants(os.Getpid()) {
		s, ok := readStat(pid)
		if !ok || s.zombie() {
			reapUnlessTree(pid, c.trees)
			continue
		}
		if s.comm == "crtime" || s.comm == "criu" || strings.HasPrefix(s.comm, "ld-linux") {
			return true
		}
	}
	return false
}

// reapUnlessTree leaves the end of a tree's own processes to Tree.Reap.
func reapUnlessTree(pid int, trees []*Tree) {
	for _, t := range trees {
		if t.known[pid] {
			return
		}
	}
	reap(pid)
}
