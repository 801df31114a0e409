// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/testkit"
)

// litter gives a stub some children, and their runners.
func litter(s *Stub, n int) ([]*Stub, []*Runner, error) {
	var pids []int
	for i := range n {
		pids = append(pids, s.PID()+1+i)
	}
	children, err := s.ForkAll(pids, 0)
	var runners []*Runner
	for _, c := range children {
		runners = append(runners, c.Runner)
	}
	return children, runners, err
}

func TestInterleave(t *testing.T) {
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 23000), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		children, runners, err := litter(s, clonesAtOnce+3)
		if err != nil {
			return err
		}
		for i, child := range children {
			defer child.Kill()
			if child.PID() != s.PID()+1+i {
				t.Errorf("child %d is process %d", i, child.PID())
			}
		}
		if err := Interleave(append(runners, runners[0]), func(int) error { return nil }); err == nil {
			t.Error("a process named twice: no error")
		}
		failed := errors.New("as it should")
		var order []int
		err = Interleave(runners, func(i int) error {
			for range 3 {
				calls := getpids(i + 1)
				order = append(order, i)
				if err := runners[i].Run(calls); err != nil {
					return err
				}
				for _, c := range calls {
					if int(c.Ret) != children[i].PID() {
						return fmt.Errorf("process %d says it is %d", children[i].PID(), c.Ret)
					}
				}
			}
			if i == 5 {
				return failed
			}
			return nil
		})
		if !errors.Is(err, failed) || err.Error() != failed.Error() {
			t.Errorf("Interleave: %v, want the one error", err)
		}
		if slices.IsSorted(order) || len(order) != 3*len(runners) {
			t.Errorf("the calls did not take turns: %v", order)
		}
		// All is over.
		return children[0].Run(getpids(1))
	})
}

// TestForkAllTaken has one number of a litter taken: none of it may be left.
func TestForkAllTaken(t *testing.T) {
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 23500), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		if _, err := s.ForkAll([]int{s.PID() + 1, s.PID() + 2, os.Getpid(), s.PID() + 3}, 0); !errors.Is(err, ErrPIDTaken) {
			t.Errorf("ForkAll: %v, want ErrPIDTaken", err)
		}
		// Killed, they wait for their parent to collect them.
		for n := 1; n <= 3; n++ {
			if !ended(s.PID()+n) && unix.Kill(s.PID()+n, 0) == nil {
				t.Errorf("process %d lives", s.PID()+n)
			}
		}
		return s.Run(getpids(1))
	})
}

// TestAttachAll uses several programs at once, one of which is gone the second time.
func TestAttachAll(t *testing.T) {
	program := build(t, "loop.c")
	var all []*testkit.Counter
	for range 3 {
		all = append(all, start(t, program))
	}
	traced(t, func(tr *ptrace.Tracer) error {
		var threads, leaders []*ptrace.Thread
		var before [][]byte
		for _, x := range all {
			its, err := stopAll(tr, x.PID)
			if err != nil {
				return err
			}
			threads, leaders = append(threads, its...), append(leaders, its[0])
			before = append(before, mapsOf(x.PID))
		}
		runners, err := AttachAll(leaders)
		if err != nil {
			return err
		}
		err = Interleave(runners, func(i int) error {
			calls := getpids(2)
			if err := runners[i].Run(calls); err != nil || int(calls[1].Ret) != all[i].PID {
				return fmt.Errorf("process %d says it is %d, %w", all[i].PID, calls[1].Ret, err)
			}
			return nil
		})
		if err := errors.Join(err, CloseAll(runners)); err != nil {
			return err
		}
		for i, x := range all {
			if after := mapsOf(x.PID); !bytes.Equal(before[i], after) {
				t.Errorf("process %d: mappings before:\n%s\nand after:\n%s", x.PID, before[i], after)
			}
		}
		if err := unix.Kill(all[1].PID, unix.SIGKILL); err != nil {
			return err
		}
		if err := awaitGone(leaders[1]); !errors.Is(err, ptrace.ErrGone) {
			return err
		}
		if _, err := AttachAll(leaders); !errors.Is(err, ptrace.ErrGone) {
			t.Errorf("AttachAll with one that is gone: %v, want ErrGone", err)
		}
		if after := mapsOf(all[0].PID); !bytes.Equal(before[0], after) {
			t.Errorf("mappings before:\n%s\nand after:\n%s", before[0], after)
		}
		return letGo(slices.DeleteFunc(threads, func(th *ptrace.Thread) bool { return th == leaders[1] }))
	})
	all[0].Progress(2)
	all[2].Progress(2)
}

func mapsOf(pid int) []byte {
	text, _ := os.ReadFile("/proc/" + itoa(pid) + "/maps")
	return text
}
