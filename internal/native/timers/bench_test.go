// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"strconv"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// BenchmarkArm measures what timers cost at the very end of a restore.
func BenchmarkArm(b *testing.B) {
	benchmark(b, func(s *criuimg.Set, stub *remote.Stub, _ instant) error {
		return Arm(s, uint32(stub.PID()), stub, nil)
	})
}

// BenchmarkArmAhead is BenchmarkArm for a caller that knows the offsets.
func BenchmarkArmAhead(b *testing.B) {
	benchmark(b, func(s *criuimg.Set, stub *remote.Stub, _ instant) error {
		return Plan{Ahead: &clockstate.Offsets{}}.Arm(s, uint32(stub.PID()), stub)
	})
}

// BenchmarkRead measures what timers cost at a dump.
func BenchmarkRead(b *testing.B) {
	benchmark(b, func(_ *criuimg.Set, stub *remote.Stub, frozen instant) error {
		_, err := Read([]Target{{stub.PID(), stub.Runner}}, frozen.of)
		return err
	})
}

// benchmark measures f with a stub that has different numbers of timers.
func benchmark(b *testing.B, f func(*criuimg.Set, *remote.Stub, instant) error) {
	for _, n := range []int{0, 1, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := manyTimers(uint32(freePID(b, 30600)), n)
			inStub(b, s, nil, func(stub *remote.Stub) error {
				if err := Create(s, uint32(stub.PID()), stub); err != nil {
					return err
				}
				if err := Arm(s, uint32(stub.PID()), stub, nil); err != nil {
					return err
				}
				frozen := readInstant(b)
				for b.Loop() {
					if err := f(s, stub, frozen); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// manyTimers is a process with n timers that run.
func manyTimers(pid uint32, n int) *criuimg.Set {
	s := newSet(pid)
	none := itimerEntry(span{})
	all := &timer.TaskTimersEntry{Real: none, Virt: none, Prof: none}
	for id := range n {
		e := posix{id: int32(id), clock: unix.CLOCK_MONOTONIC, signal: 40}.entry()
		e.Overrun, e.Isec, e.Insec = proto.Uint32(0), proto.Uint64(0), proto.Uint64(0)
		e.Vsec, e.Vnsec = proto.Uint64(1000), proto.Uint64(0)
		all.Posix = append(all.Posix, e)
	}
	s.Process[pid].Core.Tc.Timers = all
	return s
}
