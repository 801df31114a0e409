// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// holdArgument makes the test program a tracer that holds a tree until it is
// killed.
const holdArgument = "-hold-until-killed"

// holdUntilKilled freezes a tree, says so, and waits.
func holdUntilKilled(root string) int {
	pid, err := strconv.Atoi(root)
	if err != nil {
		return 2
	}
	err = Run(func(tr *Tracer) error {
		ctx, cancel := contextFor(10 * time.Second)
		defer cancel()
		if _, err := tr.Freeze(ctx, pid); err != nil {
			return err
		}
		fmt.Println("frozen")
		select {}
	})
	fmt.Println(err)
	return 1
}

// TestTracerKilled kills the tracer of a frozen tree: everything runs on.
func TestTracerKilled(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		count int
	}{{"threads", 16}, {"tree", 10}, {"clones", 4}, {"forks", 3}} {
		t.Run(tt.kind, func(t *testing.T) {
			x := start(t, tt.kind, tt.count)
			for range 3 {
				holder := exec.Command(os.Args[0], holdArgument, strconv.Itoa(x.PID))
				out, err := holder.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := holder.Start(); err != nil {
					t.Fatal(err)
				}
				line, err := bufio.NewReader(out).ReadString('\n')
				if err != nil || line != "frozen\n" {
					t.Errorf("got %q, %v", line, err)
				}
				before := x.Word(0)
				time.Sleep(2 * time.Millisecond)
				if now := x.Word(0); now != before {
					t.Errorf("the frozen target has made %d rounds", now-before)
				}
				holder.Process.Kill()
				holder.Wait()
				x.Progress(2)
			}
			x.untraced()
		})
	}
}

// TestStoppedStaysStopped freezes processes that a signal has stopped.
func TestStoppedStaysStopped(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGTSTP} {
		for _, threads := range []int{1, 8} {
			t.Run(fmt.Sprint(sig, threads), func(t *testing.T) {
				x := start(t, "threads", threads)
				unix.Kill(x.PID, sig)
				awaitState(t, x.PID, proc.Stopped)
				for range 5 {
					x.frozen(func(_ *Tracer, tree *Tree) error {
						if got := tree.Processes[0].Stopped(); got != sig {
							t.Errorf("it was stopped by %v, want %v", got, sig)
						}
						return x.still(tree)
					})
					awaitState(t, x.PID, proc.Stopped)
				}
				before := x.Word(0)
				time.Sleep(2 * time.Millisecond)
				if now := x.Word(0); now != before {
					t.Errorf("the stopped target has made %d rounds", now-before)
				}
				unix.Kill(x.PID, unix.SIGCONT)
				x.Progress(2)
				x.frozen(func(_ *Tracer, tree *Tree) error {
					if got := tree.Processes[0].Stopped(); got != 0 {
						t.Errorf("it runs, and is said to be stopped by %v", got)
					}
					return nil
				})
			})
		}
	}
}

// TestStopWhileFrozen sends SIGSTOP, and SIGCONT, to a frozen process.
func TestStopWhileFrozen(t *testing.T) {
	x := start(t, "threads", 4)
	x.frozen(func(*Tracer, *Tree) error { return unix.Kill(x.PID, unix.SIGSTOP) })
	awaitState(t, x.PID, proc.Stopped)
	x.frozen(func(_ *Tracer, tree *Tree) error {
		if err := unix.Kill(x.PID, unix.SIGCONT); err != nil {
			return err
		}
		return x.still(tree)
	})
	x.Progress(2)
}

// TestStopStorm stops and continues a process while it is frozen again and
// again. In the end it does what the last signal said.
func TestStopStorm(t *testing.T) {
	x := start(t, "threads", 6)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				unix.Kill(x.PID, unix.SIGCONT)
				return
			default:
			}
			unix.Kill(x.PID, unix.SIGSTOP)
			time.Sleep(70 * time.Microsecond)
			unix.Kill(x.PID, unix.SIGCONT)
			time.Sleep(70 * time.Microsecond)
		}
	}()
	for range 100 {
		x.frozen(func(_ *Tracer, tree *Tree) error { return x.still(tree) })
	}
	close(done)
	<-ended
	x.Progress(2)
	unix.Kill(x.PID, unix.SIGSTOP)
	awaitState(t, x.PID, proc.Stopped)
	x.frozen(func(*Tracer, *Tree) error { return nil })
	awaitState(t, x.PID, proc.Stopped)
}

// TestKill ends trees; their parent learns of it when nothing is left.
func TestKill(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		count int
	}{{"threads", 16}, {"tree", 20}, {"clones", 4}, {"forks", 3}, {"zombies", 3}, {"orphans", 3}} {
		t.Run(tt.kind, func(t *testing.T) {
			x := start(t, tt.kind, tt.count)
			err := Run(func(tr *Tracer) error {
				tree, err := tr.Freeze(t.Context(), x.PID)
				if err != nil {
					return err
				}
				if err := tree.Kill(); err != nil {
					return err
				}
				for _, p := range tree.Processes {
					// What remains is to be collected by this test, which inherits it.
					if st, err := proc.ReadStat(p.PID); err == nil && st.State != proc.Zombie {
						t.Errorf("process %d is in state %c", p.PID, st.State)
					}
				}
				return tree.Release() // Of what is gone: no error.
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKillStopped ends a process that a signal had stopped.
func TestKillStopped(t *testing.T) {
	x := start(t, "threads", 4)
	unix.Kill(x.PID, unix.SIGSTOP)
	awaitState(t, x.PID, proc.Stopped)
	err := Run(func(tr *Tracer) error {
		tree, err := tr.Freeze(t.Context(), x.PID)
		if err != nil {
			return err
		}
		return tree.Kill()
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRunLetsGo shows that what f leaves attached is let go when it returns.
func TestRunLetsGo(t *testing.T) {
	x := start(t, "tree", 10)
	err := Run(func(tr *Tracer) error {
		_, err := tr.Freeze(t.Context(), x.PID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Progress(2)
	x.untraced()
}
