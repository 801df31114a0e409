// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/testkit"
)

// holderTree is a running tree of testdata/holder.c.
type holderTree struct {
	t    testing.TB
	dir  string
	pids []int // Parents before children.
	// parents are those of all but the first.
	parents map[int]int
}

// hold starts a tree in a new directory and waits until it has said its words:
// "ready" and one "+" for each further process that is to be waited for.
func hold(t testing.TB, mode string, words int) *holderTree {
	t.Helper()
	return holdWith(t, mode, words, nil)
}

// holdWith is hold with a certain input for the program.
func holdWith(t testing.TB, mode string, words int, stdin *os.File) *holderTree {
	t.Helper()
	h := &holderTree{t: t, dir: t.TempDir(), parents: map[int]int{}}
	cmd := exec.Command(testkit.Build(t, "holder.c"), mode)
	cmd.Dir = h.dir
	cmd.Stderr = os.Stderr
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = in
	if stdin != nil {
		cmd.Stdin = stdin
	}
	testkit.Start(t, cmd)
	in.Close()
	if _, err := io.ReadFull(out, make([]byte, words)); err != nil {
		t.Fatalf("wait for %s: %v", mode, err)
	}
	h.pids = testkit.Tree(cmd.Process.Pid)
	for _, pid := range h.pids {
		for _, child := range testkit.Children(pid) {
			h.parents[child] = pid
		}
	}
	h.settled()
	return h
}

// settled waits until every process sleeps: each has set up all it wants then.
func (h *holderTree) settled() {
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range h.pids {
		for {
			if time.Now().After(deadline) {
				h.t.Fatalf("process %d does not come to rest", pid)
			}
			what, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
			if err != nil {
				h.t.Fatal(err)
			}
			if strings.HasPrefix(string(what), strconv.Itoa(pauseCall)+" ") {
				break
			}
		}
	}
}

// end kills the tree and waits until it is gone. It may be called twice.
func (h *holderTree) end() {
	if len(h.pids) > 0 {
		testkit.Kill(h.t, h.pids[0])
		testkit.Reap(h.t, h.pids...)
	}
	h.pids = nil
}

// collect collects the files of the tree, which does not run because all of it
// sleeps.
func (h *holderTree) collect(l Limits) (*criuimg.Set, *Collection, error) {
	s := h.set()
	targets := make([]Target, len(h.pids))
	for i, pid := range h.pids {
		targets[i] = Target{PID: pid}
	}
	c, err := Collect(targets, s, l)
	return s, c, err
}

// mustCollect is collect where nothing stands in the way.
func (h *holderTree) mustCollect(l Limits) (*criuimg.Set, *Collection) {
	h.t.Helper()
	s, c, err := h.collect(l)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return s, c
}

func itoa(n uint32) string { return strconv.Itoa(int(n)) }
