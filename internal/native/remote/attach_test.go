// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// use runs f with a Runner of a live process, all of whose threads are stopped.
func use(t *testing.T, pid int, f func(r *Runner, threads []*ptrace.Thread) error) {
	t.Helper()
	traced(t, func(tr *ptrace.Tracer) error {
		threads, err := stopAll(tr, pid)
		if err != nil {
			return err
		}
		r, err := Attach(threads[0])
		if err != nil {
			return err
		}
		if err := f(r, threads); err != nil {
			return err
		}
		if err := r.Close(); err != nil {
			return err
		}
		return letGo(threads)
	})
}

func TestAttachLeavesNothing(t *testing.T) {
	for _, flags := range [][]string{nil, {"-static"}} {
		x := start(t, build(t, "loop.c", flags...))
		for round := range 20 {
			var before, after []byte
			var regs [2]ptrace.Registers
			traced(t, func(tr *ptrace.Tracer) error {
				threads, err := stopAll(tr, x.PID)
				if err != nil {
					return err
				}
				before, _ = os.ReadFile("/proc/" + itoa(x.PID) + "/maps")
				if regs[0], err = threads[0].Registers(); err != nil {
					return err
				}
				r, err := Attach(threads[0])
				if err != nil {
					return err
				}
				if !r.Guarded() {
					t.Error("the target is not guarded")
				}
				if r.signal != unix.SIGURG {
					t.Errorf("signal %d ends the batches, want SIGURG", r.signal)
				}
				calls := getpids(1000)
				if err := r.Run(calls); err != nil {
					return err
				}
				for i := range calls {
					if int(calls[i].Ret) != x.PID {
						return fmt.Errorf("call %d: %d, want %d", i, calls[i].Ret, x.PID)
					}
				}
				if s, err := r.Original(threads[0]); err != nil || s.Registers != regs[0] {
					t.Errorf("Original: %+v, %v; want %+v", s.Registers, err, regs[0])
				}
				if err := r.Close(); err != nil {
					return err
				}
				after, _ = os.ReadFile("/proc/" + itoa(x.PID) + "/maps")
				if regs[1], err = threads[0].Registers(); err != nil {
					return err
				}
				return letGo(threads)
			})
			if !bytes.Equal(before, after) {
				t.Fatalf("round %d: mappings before:\n%s\nand after:\n%s", round, before, after)
			}
			if regs[0] != regs[1] {
				t.Fatalf("round %d: registers before: %+v, after: %+v", round, regs[0], regs[1])
			}
			x.Progress(3)
		}
	}
}

func TestBlockedCalls(t *testing.T) {
	t.Parallel()
	program := build(t, "blocked.c")
	for _, call := range []string{"nanosleep", "nanosleep-plain", "poll", "futex", "futex-inline", "select", "read", "epoll", "pause", "sigsuspend", "ppoll"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			x := start(t, program, call)
			for range 20 {
				use(t, x.PID, func(r *Runner, _ []*ptrace.Thread) error { return r.Run(getpids(100)) })
				x.Progress(1)
			}
			if n := x.Word(3); n != 0 {
				t.Errorf("%d calls failed with EINTR because of the stop", n)
			}
		})
	}
}

func TestManyThreads(t *testing.T) {
	x := start(t, build(t, "gotarget"))
	for range 20 {
		use(t, x.PID, func(r *Runner, threads []*ptrace.Thread) error {
			if !r.Guarded() {
				t.Error("the target is not guarded")
			}
			for range 3 {
				for _, th := range threads {
					who := []Call{{Name: "gettid", Nr: unix.SYS_GETTID}}
					if err := r.RunIn(th, who); err != nil {
						return err
					}
					if int(who[0].Ret) != th.TID {
						t.Errorf("thread %d says that it is %d", th.TID, who[0].Ret)
					}
				}
			}
			return nil
		})
		x.Progress(100)
	}
}
