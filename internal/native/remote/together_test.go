// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

func TestRunAll(t *testing.T) {
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 29000), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		children, err := forkMany(s, 8)
		if err != nil {
			return err
		}
		var batches []Batch
		for i, child := range children {
			defer child.Kill()
			// Of different length: none, one table, several.
			batches = append(batches, Batch{Runner: child.Runner, Calls: getpids(i * tableCalls / 2)})
		}
		if err := RunAll(append(batches, batches[0])); err == nil {
			t.Error("a process named twice: no error")
		}
		// One batch ends early, in its second table.
		const broken, at = 6, tableCalls + 5
		batches[broken].Calls[at] = Call{Name: "close -1", Nr: unix.SYS_CLOSE, Args: [6]uint64{^uint64(0)}, Must: true}
		err = RunAll(batches)
		var failed *CallError
		if !errors.As(err, &failed) || failed.Name != "close -1" || failed.Errno != unix.EBADF {
			t.Errorf("RunAll: %v, want EBADF of one call", err)
		}
		for i, b := range batches {
			for j, c := range b.Calls {
				done := i != broken || j <= at
				if c.Done != done || (done && (i != broken || j != at) && int(c.Ret) != b.Runner.PID()) {
					return fmt.Errorf("batch %d, call %d: done %v, result %d", i, j, c.Done, c.Ret)
				}
			}
		}
		return nil
	})
}

// TestRunAllKilled has one process die in the middle of its batch.
func TestRunAllKilled(t *testing.T) {
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 29000), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		children, err := forkMany(s, 4)
		if err != nil {
			return err
		}
		var batches []Batch
		for _, child := range children {
			defer child.Kill()
			batches = append(batches, Batch{Runner: child.Runner, Calls: getpids(10)})
		}
		batches[1].Calls[5] = Call{Name: "kill", Nr: unix.SYS_KILL, Args: [6]uint64{uint64(children[1].PID()), uint64(unix.SIGKILL)}}
		if err := RunAll(batches); !errors.Is(err, ptrace.ErrGone) {
			t.Errorf("RunAll: %v, want ErrGone", err)
		}
		for i, b := range batches {
			if i != 1 && !b.Calls[9].Done {
				t.Errorf("batch %d was not completed", i)
			}
		}
		// What is gone stays gone.
		if err := children[1].Run(getpids(1)); !errors.Is(err, ptrace.ErrGone) {
			t.Errorf("Run in a process that is gone: %v, want ErrGone", err)
		}
		return nil
	})
}

func BenchmarkRunAll(b *testing.B) {
	for _, calls := range []int{1, 20, 300} {
		for _, together := range []bool{false, true} {
			name := "calls=" + itoa(calls) + "/one by one"
			if together {
				name = "calls=" + itoa(calls) + "/together"
			}
			b.Run(name, func(b *testing.B) {
				benchTracer(b, func(tr *ptrace.Tracer) error { return grow100(b, tr, calls, together) })
			})
		}
	}
}

// grow100 maps memory in 100 processes.
func grow100(b *testing.B, tr *ptrace.Tracer, n int, together bool) error {
	s, err := Spawn(tr, freePID(b, 29000), testArea)
	if err != nil {
		return err
	}
	defer s.Kill()
	children, err := forkMany(s, 100)
	if err != nil {
		return err
	}
	defer endChildren(s, children)
	batches := make([]Batch, len(children))
	for i, child := range children {
		calls := make([]Call, n)
		for j := range calls {
			calls[j] = Call{Name: "mmap", Nr: unix.SYS_MMAP, Args: [6]uint64{uint64(0x30_0000_0000 + j*2*pageSize), pageSize, unix.PROT_READ, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED, ^uint64(0)}, Must: true}
		}
		batches[i] = Batch{Runner: child.Runner, Calls: calls}
	}
	for b.Loop() {
		if together {
			if err := RunAll(batches); err != nil {
				return err
			}
			continue
		}
		for _, batch := range batches {
			if err := batch.Runner.Run(batch.Calls); err != nil {
				return err
			}
		}
	}
	return nil
}
