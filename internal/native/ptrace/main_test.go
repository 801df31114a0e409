// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == holdArgument {
		os.Exit(holdUntilKilled(os.Args[2]))
	}
	os.Exit(testkit.Main(m))
}

// target is a running testdata/target.c, or another tree that does not count.
type target struct {
	*testkit.Counter
	t testing.TB
}

// start runs a target until the end of the test, and returns when it is ready.
func start(t testing.TB, kind string, count int) *target {
	t.Helper()
	file := testkit.PageFile(t)
	cmd := exec.Command(testkit.Build(t, "target.c"), kind, file, strconv.Itoa(count))
	// In the test's session: signals of the terminal stop no orphaned process group.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return &target{testkit.StartCounter(t, cmd, file), t}
}

// frozen freezes the target, and calls f while it stands still.
func (x *target) frozen(f func(*Tracer, *Tree) error) {
	x.t.Helper()
	if err := x.tryFrozen(f); err != nil {
		x.t.Fatal(err)
	}
}

// tryFrozen is frozen that returns the error.
func (x *target) tryFrozen(f func(*Tracer, *Tree) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return Run(func(tr *Tracer) error {
		tree, err := tr.Freeze(ctx, x.PID)
		if err != nil {
			return err
		}
		return errors.Join(f(tr, tree), tree.Release())
	})
}

// still checks that a frozen tree is all there is, and that nothing of it runs.
func (x *target) still(tree *Tree) error {
	from := x.Word(0)
	seen, err := proc.Scan(x.PID)
	if err != nil {
		return err
	}
	if !seen.AllStopped {
		return fmt.Errorf("something of the tree runs: %+v", seen)
	}
	if len(seen.Tasks) != len(tree.Processes) {
		return fmt.Errorf("%d processes were frozen, and there are %d", len(tree.Processes), len(seen.Tasks))
	}
	threads := make(map[int]int)
	for _, task := range seen.Tasks {
		threads[task.PID] = len(task.Threads)
		if task.Zombie {
			threads[task.PID] = 0
		}
	}
	for i, p := range tree.Processes {
		if n, ok := threads[p.PID]; !ok || n != len(p.Threads) {
			return fmt.Errorf("process %d was frozen with %d threads, and has %d", p.PID, len(p.Threads), n)
		}
		st, err := proc.ReadStat(p.PID)
		if err != nil {
			return err
		}
		if st.PPID != p.PPID || (st.State == proc.Zombie) != p.Zombie {
			return fmt.Errorf("process %d: got %+v, the kernel says %+v", p.PID, p, st)
		}
		if i > 0 && tree.find(p.PPID) >= i {
			return fmt.Errorf("process %d stands before its parent %d", p.PID, p.PPID)
		}
		for _, th := range p.Threads {
			if _, err := th.Registers(); err != nil {
				return err
			}
		}
	}
	time.Sleep(time.Millisecond)
	if now := x.Word(0); now != from {
		return fmt.Errorf("the frozen target has made %d rounds", now-from)
	}
	return nil
}

// find is the place of a process in the tree.
func (tr *Tree) find(pid int) int {
	for i, p := range tr.Processes {
		if p.PID == pid {
			return i
		}
	}
	return len(tr.Processes)
}

// untraced checks that nothing of the tree is traced. What could not be let go is, by the
// kernel, when the tracer's thread ends, which is a moment after Run has returned.
func (x *target) untraced() {
	x.t.Helper()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		left := x.traced()
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			x.t.Error(left)
			return
		}
	}
}

// traced names a thread of the tree that is traced; "": there is none.
func (x *target) traced() string {
	x.t.Helper()
	seen, err := proc.Scan(x.PID)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, task := range seen.Tasks {
		for _, tid := range task.Threads {
			status, err := proc.ReadStatus(tid)
			if err == nil && status.TracerPID != 0 {
				return fmt.Sprintf("thread %d is still traced by %d", tid, status.TracerPID)
			}
		}
	}
	return ""
}

// state is the state of a process.
func state(t testing.TB, pid int) proc.State {
	t.Helper()
	st, err := proc.ReadStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return st.State
}

// awaitState waits until a process is in a state.
func awaitState(t testing.TB, pid int, want proc.State) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); state(t, pid) != want; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is in state %c, want %c", pid, state(t, pid), want)
		}
	}
}
