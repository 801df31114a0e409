// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// TestFreeze freezes trees of all kinds again and again; nothing may run while
// they are frozen, and everything must run on afterwards.
func TestFreeze(t *testing.T) {
	tests := []struct {
		kind          string
		count, rounds int
	}{
		{"threads", 1, 20},
		{"threads", 64, 10},
		{"tree", 100, 5},
		{"clones", 8, 40},
		{"forks", 6, 40},
		{"vforks", 4, 40},
		{"execs", 0, 100},
		{"orphans", 4, 40},
		{"zombies", 3, 10},
		{"registers", 0, 20},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			x := start(t, tt.kind, tt.count)
			for range tt.rounds {
				x.frozen(func(_ *Tracer, tree *Tree) error { return x.still(tree) })
				x.Progress(2)
			}
			x.untraced()
		})
	}
}

func TestFreezeCounts(t *testing.T) {
	t.Run("threads", func(t *testing.T) {
		x := start(t, "threads", 64)
		x.frozen(func(_ *Tracer, tree *Tree) error {
			p := tree.Processes[0]
			if len(tree.Processes) != 1 || len(p.Threads) != 64 || p.Leader().TID != x.PID || len(tree.Threads()) != 64 {
				t.Errorf("got %d processes, the first with %d threads led by %d", len(tree.Processes), len(p.Threads), p.Leader().TID)
			}
			return nil
		})
	})
	t.Run("zombies", func(t *testing.T) {
		x := start(t, "zombies", 3)
		x.frozen(func(_ *Tracer, tree *Tree) error {
			zombies := 0
			for _, p := range tree.Processes {
				if p.Zombie {
					zombies++
					if p.Leader() != nil || p.Stopped() != 0 {
						t.Errorf("zombie %d: leader %v", p.PID, p.Leader())
					}
				}
			}
			if len(tree.Processes) != 5 || zombies != 3 {
				t.Errorf("got %d processes, %d of them zombies, want 5 and 3", len(tree.Processes), zombies)
			}
			return nil
		})
	})
}

// TestStandsStill checks that whoever asked to be called sees, the last time, all
// processes and threads of the tree that Freeze returns.
func TestStandsStill(t *testing.T) {
	for _, kind := range []string{"threads", "zombies"} {
		x := start(t, kind, 3)
		err := Run(func(tr *Tracer) error {
			var seen []int
			tr.StandsStill = func(standing []*Process) {
				seen = nil
				for _, p := range standing {
					for _, th := range p.Threads {
						seen = append(seen, th.TID)
					}
				}
			}
			tree, err := tr.Freeze(t.Context(), x.PID)
			if err != nil {
				return err
			}
			var want []int
			for _, th := range tree.Threads() {
				want = append(want, th.TID)
			}
			slices.Sort(seen)
			slices.Sort(want)
			if !slices.Equal(seen, want) || len(want) < 2 {
				t.Errorf("%s: saw %v stand still, the tree has %v", kind, seen, want)
			}
			return tree.Release()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFreezeRefuses(t *testing.T) {
	tests := []struct {
		name string
		root func(t *testing.T) int
		want func(error) bool
	}{
		{"nobody", func(*testing.T) int { return 1 << 30 }, func(err error) bool { return errors.Is(err, ErrGone) }},
		{"itself", func(*testing.T) int { return os.Getpid() }, func(err error) bool { return errors.Is(err, ErrSelf) }},
		{"its parent", func(*testing.T) int { return os.Getppid() }, func(err error) bool { return errors.Is(err, ErrSelf) }},
		{"a zombie", func(t *testing.T) int {
			x := start(t, "zombies", 1)
			tree, err := proc.Scan(x.PID)
			if err != nil {
				t.Fatal(err)
			}
			return tree.Tasks[2].PID
		}, func(err error) bool { return errors.Is(err, ErrGone) }},
		{"a thread", func(t *testing.T) int {
			tids, err := proc.Threads(start(t, "threads", 2).PID)
			if err != nil {
				t.Fatal(err)
			}
			return tids[1]
		}, func(err error) bool { return err != nil && !errors.Is(err, ErrGone) }},
		{"without its leader", func(t *testing.T) int {
			x := start(t, "leaderless", 0)
			awaitState(t, x.PID, proc.Zombie)
			return x.PID
		}, func(err error) bool { return errors.Is(err, ErrLeaderEnded) }},
		{"a kernel thread", func(t *testing.T) int {
			st, err := proc.ReadStat(2)
			if err != nil || !st.KernelThread() {
				t.Skip("no kernel threads in this pid namespace")
			}
			return 2
		}, func(err error) bool {
			var e *PermissionError
			return errors.As(err, &e) && e.Kernel && errors.Is(err, unix.EPERM)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tt.root(t)
			err := Run(func(tr *Tracer) error {
				_, err := tr.Freeze(t.Context(), root)
				return err
			})
			if !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestFreezeLeaderless shows that the threads of a process that is refused run on.
func TestFreezeLeaderless(t *testing.T) {
	x := start(t, "leaderless", 0)
	awaitState(t, x.PID, proc.Zombie)
	for range 5 {
		if err := x.tryFrozen(func(*Tracer, *Tree) error { return nil }); !errors.Is(err, ErrLeaderEnded) {
			t.Fatalf("got %v", err)
		}
		x.Progress(2)
	}
}

// TestFreezeLeaderEndsMeanwhile has the first thread end at any moment of freezing.
func TestFreezeLeaderEndsMeanwhile(t *testing.T) {
	for range 10 {
		x := start(t, "leaderless", 0)
		err := x.tryFrozen(func(_ *Tracer, tree *Tree) error { return x.still(tree) })
		if err != nil && !errors.Is(err, ErrLeaderEnded) {
			t.Fatal(err)
		}
		x.Progress(2)
		testkit.Kill(t, x.PID)
	}
}

// TestFreezeTraced meets another tracer in the middle of the tree.
func TestFreezeTraced(t *testing.T) {
	x := start(t, "tree", 4)
	seen, err := proc.Scan(x.PID)
	if err != nil {
		t.Fatal(err)
	}
	child := seen.Tasks[3].PID
	err = Run(func(first *Tracer) error {
		if _, err := first.Seize(child); err != nil {
			return err
		}
		err := x.tryFrozen(func(*Tracer, *Tree) error { return nil })
		var e *TracedError
		if !errors.As(err, &e) || e.TID != child || e.Tracer != first.tid || e.Comm == "" {
			t.Errorf("got %v, want that thread %d is traced by %d", err, child, first.tid)
		}
		x.Progress(2)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x.untraced()
	x.frozen(func(_ *Tracer, tree *Tree) error { return x.still(tree) })
}

// TestFreezeStuck has a parent in vfork, whose child does not end: it cannot be
// stopped before the context ends, and everything must run on.
func TestFreezeStuck(t *testing.T) {
	x := start(t, "stuck", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := Run(func(tr *Tracer) error {
		_, err := tr.Freeze(ctx, x.PID)
		return err
	})
	var e *StuckError
	if !errors.As(err, &e) || e.PID != x.PID || e.TID != x.PID || e.State != 'D' || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	x.Progress(2) // By the child.
	x.untraced()
}

// TestFreezeCancelled does not begin when it is told not to.
func TestFreezeCancelled(t *testing.T) {
	x := start(t, "tree", 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(func(tr *Tracer) error {
		_, err := tr.Freeze(ctx, x.PID)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	x.untraced()
}

// TestFreezeKilled kills a child, then the root, while the tree is being frozen.
func TestFreezeKilled(t *testing.T) {
	for round := range 30 {
		x := start(t, "tree", 20)
		seen, err := proc.Scan(x.PID)
		if err != nil {
			t.Fatal(err)
		}
		victim := seen.Tasks[10].PID
		if round%2 == 1 {
			victim = x.PID
		}
		go func() {
			for range round * 3 {
				runtime.Gosched()
			}
			unix.Kill(victim, unix.SIGKILL)
		}()
		err = x.tryFrozen(func(_ *Tracer, tree *Tree) error {
			for _, p := range tree.Processes {
				if p.PID == victim && !p.Zombie {
					// Killed after it was frozen: the next look tells.
					awaitGone(t, p.Leader())
				}
			}
			return nil
		})
		switch {
		case victim == x.PID && err != nil && !errors.Is(err, ErrGone):
			t.Fatalf("the root was killed: %v", err)
		case victim != x.PID && err != nil:
			t.Fatalf("a child was killed: %v", err)
		case victim != x.PID:
			x.Progress(2)
		}
		testkit.Kill(t, x.PID)
	}
}

// awaitGone waits for the end of a thread that is being killed.
func awaitGone(t *testing.T, th *Thread) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		if _, err := th.Registers(); errors.Is(err, ErrGone) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("thread %d was not killed", th.TID)
			return
		}
	}
}

// TestFreezeForeign freezes programs that were not made for it.
func TestFreezeForeign(t *testing.T) {
	for _, script := range []string{
		"while :; do /bin/true; done",
		"while :; do echo a | cat | cat > /dev/null; done",
		"while :; do (sleep 0.001 &) ; done",
	} {
		cmd := exec.Command("sh", "-c", script)
		testkit.Start(t, cmd)
		x := &target{&testkit.Counter{PID: cmd.Process.Pid, Page: make([]byte, 16)}, t}
		for range 30 {
			x.frozen(func(_ *Tracer, tree *Tree) error { return x.still(tree) })
			time.Sleep(time.Millisecond)
		}
		x.untraced()
		testkit.Kill(t, x.PID)
	}
}

// TestFreezeTwice freezes a tree that is frozen already, and one that was let go,
// by the same tracer.
func TestFreezeTwice(t *testing.T) {
	x := start(t, "clones", 4)
	x.frozen(func(tr *Tracer, first *Tree) error {
		again, err := tr.Freeze(t.Context(), x.PID)
		if err != nil {
			return err
		}
		if len(again.Processes) != 1 || !slices.Equal(again.Threads(), first.Threads()) {
			t.Errorf("%d threads became %d", len(first.Threads()), len(again.Threads()))
		}
		for range 5 {
			if err := x.still(again); err != nil {
				return err
			}
			if err := again.Release(); err != nil {
				return err
			}
			x.Progress(2)
			if again, err = tr.Freeze(t.Context(), x.PID); err != nil {
				return err
			}
		}
		return again.Release()
	})
	x.Progress(2)
}
