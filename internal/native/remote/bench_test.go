// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"testing"
	"time"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// attached runs f with a Runner of a program.
func attached(b *testing.B, program string, f func(*Runner) error) {
	b.Helper()
	x := start(b, program)
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		threads, err := stopAll(tr, x.PID)
		if err != nil {
			return err
		}
		r, err := Attach(threads[0])
		if err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		return r.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, stepping := range []bool{false, true} {
		for _, n := range []int{1, 100} {
			name := "table"
			if stepping {
				name = "stepping"
			}
			b.Run(name+"/calls="+itoa(n), func(b *testing.B) {
				attached(b, build(b, "loop.c"), func(r *Runner) error {
					if stepping {
						r.signal = 0
					}
					calls := getpids(n)
					for b.Loop() {
						if err := r.Run(calls); err != nil {
							return err
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/call")
					return nil
				})
			})
		}
	}
}

func BenchmarkAttachClose(b *testing.B) {
	for _, program := range []string{"loop.c", "gotarget"} {
		b.Run(program, func(b *testing.B) {
			x := start(b, build(b, program))
			err := ptrace.Run(func(tr *ptrace.Tracer) error {
				threads, err := stopAll(tr, x.PID)
				if err != nil {
					return err
				}
				var attach time.Duration
				for b.Loop() {
					begin := time.Now()
					r, err := Attach(threads[0])
					if err != nil {
						return err
					}
					attach += time.Since(begin)
					if err := r.Close(); err != nil {
						return err
					}
				}
				b.ReportMetric(float64(attach.Nanoseconds())/float64(b.N), "ns/attach")
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkSpawnFork(b *testing.B) {
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		pid := freePID(b, 25000)
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		for b.Loop() {
			child, err := s.Fork(pid+1, 0)
			if err != nil {
				return err
			}
			if err := child.Kill(); err != nil {
				return err
			}
			// The zombie is the stub's.
			if err := s.Run([]Call{{Name: "wait4", Nr: 61, Args: [6]uint64{^uint64(0)}, Must: true}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
