// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// family is testdata/family.c, running.
type family struct {
	t    testing.TB
	root int
	out  string // What it printed.
}

// startFamily starts the program in a session of its own and waits until all of
// it is ready. It ends with the test.
func startFamily(t testing.TB, args ...string) *family {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the processes change their users, raise their priorities and are given numbers: that needs root")
	}
	cmd := exec.Command(testkit.Build(t, "family.c"), args...)
	if ready := testkit.StartReady(t, cmd); ready != "ready\n" {
		t.Fatalf("the program did not become ready: %q, it said %q", ready, testkit.Said(t, cmd))
	}
	f := &family{t: t, root: cmd.Process.Pid, out: cmd.Stdout.(*os.File).Name()}
	t.Cleanup(f.end)
	f.settle()
	return f
}

// settle waits until every thread of the tree sleeps or is stopped.
func (f *family) settle() {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		tree, err := proc.Scan(f.root)
		if err != nil {
			f.t.Fatal(err)
		}
		awake := 0
		for _, task := range tree.Tasks {
			tids, _ := proc.Threads(task.PID)
			for _, tid := range tids {
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", task.PID, tid))
				if i := bytes.LastIndexByte(text, ')'); i < 0 || !strings.ContainsRune("STZ", rune(text[i+2])) {
					awake++
				}
			}
		}
		if awake == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d threads are still busy", awake)
		}
	}
}

// end kills every process of the tree and collects what the test has adopted. It
// may be called twice.
func (f *family) end() {
	if f.root == 0 {
		return
	}
	pids := testkit.Tree(f.root)
	testkit.Kill(f.t, f.root)
	testkit.Reap(f.t, pids...)
	f.root = 0
}

// frozen stops a tree and calls f with what Collect needs. The tree runs on
// afterwards.
func (f *family) frozen(do func([]Target) error) {
	f.t.Helper()
	nativetest.Frozen(f.t, f.root, func(tree *ptrace.Tree, runners []*remote.Runner) error {
		var targets []Target
		for i, p := range tree.Processes {
			targets = append(targets, Target{Process: p, Remote: runners[i]})
		}
		return do(targets)
	})
}

// collect stops a tree, collects it, and lets it run on.
func (f *family) collect() *criuimg.Set {
	f.t.Helper()
	set := criuimg.NewSet()
	f.frozen(func(targets []Target) error { return Collect(targets, set, nil) })
	return set
}

// childOf finds a process of a set by its place in the birth order of family.c:
// pids are given out in that order.
func childOf(t testing.TB, set *criuimg.Set, n int) (uint32, *criuimg.Process) {
	t.Helper()
	pids := set.PIDs()
	// Children come in the order of their birth, the grandchild somewhere between.
	root := pids[0]
	var children []uint32
	for _, e := range set.Tree {
		if e.GetPpid() == root {
			children = append(children, e.GetPid())
		}
	}
	if n < 0 || n >= len(children) {
		t.Fatalf("the tree has %d children, none with the number %d", len(children), n)
	}
	return children[n], set.Process[children[n]]
}

// The children of the root in the mode "users", in the order of their birth.
const (
	leadsSession = iota
	ofNobody
	withCapabilities
	exits
	dies
	isKilled
	stops
	stopsForSure
)

// signalInfo makes a siginfo as kill(2) does.
func signalInfo(sig unix.Signal) *siginfo.SiginfoEntry {
	b := make([]byte, 128)
	binary.NativeEndian.PutUint32(b, uint32(sig))
	return &siginfo.SiginfoEntry{Siginfo: b}
}
