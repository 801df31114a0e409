// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// cellTime is how long a program of the matrix may take to set its object up, and
// to check it. Most need milliseconds.
const cellTime = 10 * time.Second

// TestMatrix dumps a small program for every kind of object by each engine,
// restores it by each, and has it look whether its object is what it was.
func TestMatrix(t *testing.T) {
	engines := []string{"native", "criu"}
	for _, o := range objects {
		t.Run(o.name, func(t *testing.T) {
			for _, dumper := range engines {
				for _, restorer := range engines {
					t.Run(dumper+"-"+restorer, func(t *testing.T) {
						newCell(t, o, dumper, restorer).run()
					})
				}
			}
		})
	}
}

// TestMatrixComplete checks that every program of e2e/objects is in the matrix.
func TestMatrixComplete(t *testing.T) {
	c := newCase(t)
	names, err := c.Objects()
	c.Check(err)
	for _, o := range objects {
		i := slices.Index(names, o.name)
		if i < 0 {
			t.Errorf("there is no program for %s, or it stands in the matrix twice", o.name)
			continue
		}
		names = slices.Delete(names, i, i+1)
	}
	if len(names) > 0 {
		t.Errorf("not in the matrix: %s", strings.Join(names, ", "))
	}
}

// cell is one object with one engine to dump it and one to restore it.
type cell struct {
	*harness.Case
	object
	dumper, restorer string
	crtime           harness.Crtime
	tree             *harness.Tree
	wanted           *refusal // nil: the cell passes.
	met              bool     // What is wanted has happened.
}

func newCell(t *testing.T, o object, dumper, restorer string) *cell {
	t.Helper()
	c := &cell{Case: newCase(t), object: o, dumper: dumper, restorer: restorer}
	c.crtime = c.Crtime
	for _, r := range o.refusals {
		ok, err := path.Match(r.cells, dumper+"-"+restorer)
		c.Check(err)
		if ok && (r.unless == nil || !r.unless(c.Case)) {
			c.wanted = &r
			break
		}
	}
	return c
}

// run takes the program through the cell.
func (c *cell) run() {
	c.Helper()
	c.start()
	if text := c.output(1); strings.HasPrefix(text, "lacks: ") {
		c.Skip(text)
	} else if text != "ready\n" {
		c.Fatalf("the program could not set its object up: %q", text)
	}
	if c.dump() && c.restore() {
		c.judge()
	}
	if c.wanted != nil && !c.met {
		c.Errorf("this passed, but the matrix says that the %s fails because %s", c.wanted.step, c.wanted.why)
	}
}

// start starts the program in a folder of its own.
func (c *cell) start() {
	c.Helper()
	program, err := c.Object(c.Context, c.name)
	c.Check(err)
	program.Dir = c.Path("work")
	c.Check(os.Mkdir(program.Dir, 0o755))
	if !c.terminal {
		c.tree = c.StartSilent(program)
		return
	}
	c.crtime.Session = c.Session()
	c.tree = c.StartIn(c.crtime.Session, program)
}

// output waits for so many lines from the program.
func (c *cell) output(lines int) string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context, cellTime)
	defer cancel()
	text, err := c.tree.WaitOutput(ctx, lines)
	c.Check(err)
	return text
}

// dump reports whether the program has been dumped. One that could not be must
// be as it was.
func (c *cell) dump() bool {
	c.Helper()
	before := len(c.tree.PIDs())
	c.crtime.Engine = c.dumper
	_, err := c.crtime.Dump(c.Context, c.tree.PID, c.Path("images"), c.flags...)
	if err == nil {
		if c.terminal {
			c.Check(c.crtime.Session.Reap(c.Context))
		}
		c.Check(c.tree.Reap(c.Context))
		return true
	}
	c.failed(dumping, err.Error())
	if after := len(c.tree.PIDs()); after != before {
		c.Errorf("%d processes run after the failed dump, %d did before", after, before)
	}
	if text := c.answer(); text != "ready\nok\n" {
		c.Errorf("after the failed dump the program says %q", text)
	}
	return false
}

// restore reports whether the program has been restored. Of one that could not
// be nothing may be left, which the end of the case checks.
func (c *cell) restore() bool {
	c.Helper()
	c.crtime.Engine = c.restorer
	r, err := c.crtime.Restore(c.Context, c.Path("images"), c.flags...)
	if err != nil {
		c.failed(restoring, err.Error())
		return false
	}
	if r.PID != c.tree.PID {
		c.Fatalf("restored pid %d, want %d", r.PID, c.tree.PID)
	}
	if !r.Kept {
		c.Errorf("crtime says that a promise was not kept: %+v", r.Clocks)
	}
	return true
}

// judge has the program check its object.
func (c *cell) judge() {
	c.Helper()
	if text := c.answer(); text != "ready\nok\n" {
		c.failed(checking, text)
	}
}

// answer gives the program the sign that it waits for, see objects.h, and
// returns all that it has printed.
func (c *cell) answer() string {
	c.Helper()
	c.Check(os.Chmod(c.tree.Output, 0o700))
	return c.output(2)
}

// failed fails the test, unless the matrix has it that this step fails so.
func (c *cell) failed(s step, text string) {
	c.Helper()
	if c.wanted == nil || c.wanted.step != s || !strings.Contains(text, c.wanted.says) {
		c.Errorf("the %s failed: %s", s, text)
	}
	c.met = true
}

// tellsSemaphores looks whether the kernel says of an event counter that it was made
// with EFD_SEMAPHORE.
func tellsSemaphores(c *harness.Case) bool {
	c.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_SEMAPHORE|unix.EFD_CLOEXEC)
	c.Check(err)
	defer unix.Close(fd)
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	c.Check(err)
	return strings.Contains(string(info), "eventfd-semaphore:")
}
