// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// benchTracer runs f as the tracer of a benchmark.
func benchTracer(b *testing.B, f func(*ptrace.Tracer) error) {
	b.Helper()
	if err := ptrace.Run(f); err != nil {
		b.Fatal(err)
	}
}

// endless is code that loops around a system call.
const endless = "\xb8\x27\x00\x00\x00\x0f\x05" + "\xeb\xf7" // mov $39, %eax; syscall; jmp

func BenchmarkStubLife(b *testing.B) {
	pid := freePID(b, 26000)
	benchTracer(b, func(tr *ptrace.Tracer) error {
		for b.Loop() {
			s, err := Spawn(tr, pid, testArea)
			if err != nil {
				return err
			}
			text, _, err := setMemory(s, []byte(endless))
			if err != nil {
				return err
			}
			state, err := Capture(s.Thread)
			if err != nil {
				return err
			}
			state.Registers.SetPC(text)
			if err := s.Leave(map[*ptrace.Thread]State{s.Thread: state}); err != nil {
				return err
			}
			if err := s.Kill(); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkSpawn(b *testing.B) {
	pid := freePID(b, 26000)
	benchTracer(b, func(tr *ptrace.Tracer) error {
		for b.Loop() {
			s, err := Spawn(tr, pid, testArea)
			if err != nil {
				return err
			}
			b.StopTimer()
			if err := s.Kill(); err != nil {
				return err
			}
			b.StartTimer()
		}
		return nil
	})
}

func BenchmarkLeave(b *testing.B) {
	pid := freePID(b, 26000)
	benchTracer(b, func(tr *ptrace.Tracer) error {
		for b.Loop() {
			b.StopTimer()
			s, err := Spawn(tr, pid, testArea)
			if err != nil {
				return err
			}
			text, _, err := setMemory(s, []byte(endless))
			if err != nil {
				return err
			}
			state, err := Capture(s.Thread)
			if err != nil {
				return err
			}
			state.Registers.SetPC(text)
			b.StartTimer()
			if err := s.Leave(map[*ptrace.Thread]State{s.Thread: state}); err != nil {
				return err
			}
			b.StopTimer()
			if err := s.Kill(); err != nil {
				return err
			}
			b.StartTimer()
		}
		return nil
	})
}

func BenchmarkFork100(b *testing.B) {
	pid := freePID(b, 27000)
	benchTracer(b, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		for b.Loop() {
			children, err := forkMany(s, 100)
			if err != nil {
				return err
			}
			b.StopTimer()
			if err := endChildren(s, children); err != nil {
				return err
			}
			b.StartTimer()
		}
		return nil
	})
}

// forkMany makes n children of a stub.
func forkMany(s *Stub, n int) ([]*Stub, error) {
	var children []*Stub
	for i := range n {
		child, err := s.Fork(s.PID()+1+i, 0)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	return children, nil
}

// endChildren kills children of a stub and has it collect them.
func endChildren(s *Stub, children []*Stub) error {
	calls := make([]Call, len(children))
	for i, child := range children {
		if err := child.Kill(); err != nil {
			return err
		}
		calls[i] = Call{Name: "wait4", Nr: unix.SYS_WAIT4, Args: [6]uint64{uint64(child.PID())}, Must: true}
	}
	return s.Run(calls)
}

func BenchmarkNewThread64(b *testing.B) {
	pid := freePID(b, 28000)
	benchTracer(b, func(tr *ptrace.Tracer) error {
		for b.Loop() {
			b.StopTimer()
			s, err := Spawn(tr, pid, testArea)
			if err != nil {
				return err
			}
			tids := make([]int, 63)
			for i := range tids {
				tids[i] = pid + 1 + i
			}
			b.StartTimer()
			if _, err := s.NewThreads(tids); err != nil {
				return err
			}
			b.StopTimer()
			if err := s.Kill(); err != nil {
				return err
			}
			b.StartTimer()
		}
		return nil
	})
}
