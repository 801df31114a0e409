// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/timens"
)

// shift is what the namespaces of the tests add to the clocks.
var shift = clockstate.Offsets{Monotonic: 1_000_000_000_000, Boottime: 5_000_000_000_000}

// newNamespace makes a time namespace with its offsets written.
func newNamespace(t testing.TB) *timens.Holder {
	t.Helper()
	h, err := timens.NewHolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if err := h.SetOffsets(shift); err != nil {
		t.Fatal(err)
	}
	return h
}

// nanos reads this process's clock.
func nanos(t testing.TB, clock int32) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		t.Error(err)
	}
	return ts.Nano()
}

// checkClocks says whether the stub's clocks are this process's, shifted.
func checkClocks(t testing.TB, s *Stub, shift clockstate.Offsets) error {
	t.Helper()
	s.Reset()
	at, err := s.Alloc(16)
	if err != nil {
		return err
	}
	for clock, by := range map[int32]clockstate.Nanos{unix.CLOCK_MONOTONIC: shift.Monotonic, unix.CLOCK_MONOTONIC_RAW: shift.Monotonic, unix.CLOCK_BOOTTIME: shift.Boottime} {
		before := nanos(t, clock) + int64(by)
		if err := s.Run([]Call{{Name: "clock_gettime", Nr: unix.SYS_CLOCK_GETTIME, Args: [6]uint64{uint64(clock), at}, Must: true}}); err != nil {
			return err
		}
		after := nanos(t, clock) + int64(by)
		var b [16]byte
		if err := s.Read(at, b[:]); err != nil {
			return err
		}
		got := int64(binary.NativeEndian.Uint64(b[:]))*1e9 + int64(binary.NativeEndian.Uint64(b[8:]))
		if got < before || got > after {
			t.Errorf("clock %d of process %d reads %d, want %d to %d", clock, s.PID(), got, before, after)
		}
	}
	return nil
}

// limitTo has the stub set its limit on descriptors.
func limitTo(s *Stub, soft, hard uint64) error {
	s.Reset()
	at, err := s.Alloc(16)
	if err != nil {
		return err
	}
	b := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, soft), hard)
	if err := s.Write(at, b); err != nil {
		return err
	}
	return s.Run([]Call{{Name: "prlimit", Nr: unix.SYS_PRLIMIT64, Args: [6]uint64{0, unix.RLIMIT_NOFILE, at, 0}, Must: true}})
}

// openThree has the stub open descriptors 0, 1 and 2.
func openThree(s *Stub) error {
	calls := make([]Call, 3)
	for i := range calls {
		calls[i] = Call{Name: "eventfd", Nr: unix.SYS_EVENTFD2, Must: true}
	}
	return s.Run(calls)
}

// descriptors lists what is open in a process.
func descriptors(t testing.TB, pid int) string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return fmt.Sprint(names)
}

// fileLimit reads a process's limit on descriptors.
func fileLimit(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Error(err)
	}
	_, line, _ := strings.Cut(string(text), "Max open files")
	line, _, _ = strings.Cut(line, "\n")
	return line
}

func TestJoin(t *testing.T) {
	empty := t.TempDir()
	tests := []struct {
		name    string
		prepare func(*Stub) error
		want    error // nil: it joins.
	}{
		{name: "plain", prepare: func(*Stub) error { return nil }},
		{name: "open files", prepare: openThree},
		{name: "no descriptor allowed", prepare: func(s *Stub) error { return limitTo(s, 0, 100) }},
		{name: "soft limit reached", prepare: func(s *Stub) error { return errors.Join(openThree(s), limitTo(s, 3, 5)) }},
		{name: "soft limit nearly reached", prepare: func(s *Stub) error { return errors.Join(openThree(s), limitTo(s, 4, 5)) }},
		{name: "soft limit exceeded", prepare: func(s *Stub) error { return errors.Join(openThree(s), limitTo(s, 1, 100)) }},
		{name: "hard limit reached", prepare: func(s *Stub) error { return errors.Join(openThree(s), limitTo(s, 3, 4)) }, want: unix.EMFILE},
		{name: "chroot", prepare: func(s *Stub) error { return chroot(s, empty) }},
		{name: "two threads", prepare: func(s *Stub) error {
			_, err := s.NewThread(s.PID() + 100)
			return err
		}, want: ErrThreaded},
		{name: "no privilege", prepare: func(s *Stub) error {
			return s.Run([]Call{{Name: "setresuid", Nr: unix.SYS_SETRESUID, Args: [6]uint64{65534, 65534, 65534}, Must: true}})
		}, want: unix.EPERM},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newNamespace(t)
			traced(t, func(tr *ptrace.Tracer) error {
				s, err := Spawn(tr, freePID(t, 24000), testArea)
				if err != nil {
					return err
				}
				defer s.Kill()
				if err := test.prepare(s); err != nil {
					return err
				}
				files, limit := descriptors(t, s.PID()), fileLimit(t, s.PID())
				err = s.Join(h.FD())
				own, _, iderr := timens.IDOf(s.PID())
				if iderr != nil {
					return iderr
				}
				want := shift
				if test.want == nil {
					if err != nil || own != h.ID() {
						t.Errorf("Join: %v; its namespace is %d, want %d", err, own, h.ID())
					}
				} else {
					want = clockstate.Offsets{}
					var failed *JoinError
					if !errors.As(err, &failed) || !errors.Is(err, test.want) || failed.PID != s.PID() {
						t.Errorf("Join: %v; want a JoinError that is %v", err, test.want)
					}
					if own == h.ID() {
						t.Error("it is in the namespace in spite of the error")
					}
				}
				if now := descriptors(t, s.PID()); now != files {
					t.Errorf("descriptors %s became %s", files, now)
				}
				if now := fileLimit(t, s.PID()); now != limit {
					t.Errorf("the limit on descriptors %v became %v", limit, now)
				}
				return checkClocks(t, s, want)
			})
		})
	}
}

// chroot has the stub change its root.
func chroot(s *Stub, dir string) error {
	s.Reset()
	at, err := s.Alloc(len(dir) + 1)
	if err != nil {
		return err
	}
	if err := s.Write(at, append([]byte(dir), 0)); err != nil {
		return err
	}
	return s.Run([]Call{{Name: "chroot", Nr: unix.SYS_CHROOT, Args: [6]uint64{at}, Must: true}})
}

func TestJoinAll(t *testing.T) {
	h := newNamespace(t)
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 24000), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		children, err := forkMany(s, 10)
		if err != nil {
			return err
		}
		for _, child := range children {
			defer child.Kill()
		}
		// One that cannot does not keep the others from it.
		if _, err := children[4].NewThread(s.PID() + 100); err != nil {
			return err
		}
		err = JoinAll(append(children, s), h.FD())
		var failed *JoinError
		if !errors.As(err, &failed) || !errors.Is(err, ErrThreaded) || failed.PID != children[4].PID() {
			t.Errorf("JoinAll: %v; want ErrThreaded of process %d", err, children[4].PID())
		}
		for i, child := range append(children, s) {
			want := shift
			if i == 4 {
				want = clockstate.Offsets{}
			}
			if err := checkClocks(t, child, want); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestJoinWrongDescriptor(t *testing.T) {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	traced(t, func(tr *ptrace.Tracer) error {
		s, err := Spawn(tr, freePID(t, 24000), testArea)
		if err != nil {
			return err
		}
		defer s.Kill()
		var failed *JoinError
		if err := s.Join(f); !errors.As(err, &failed) || !errors.Is(err, unix.EINVAL) {
			t.Errorf("joining a network namespace as one of time: %v, want EINVAL", err)
		}
		// The trap: a pidfd of a process that stands outside.
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			return err
		}
		pidfd := os.NewFile(uintptr(fd), "pidfd")
		defer pidfd.Close()
		if err := s.Join(pidfd); err == nil {
			t.Error("joining by a pidfd: no error")
		}
		return nil
	})
}

func BenchmarkJoinAll(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run("processes="+itoa(n), func(b *testing.B) {
			benchTracer(b, func(tr *ptrace.Tracer) error {
				s, err := Spawn(tr, freePID(b, 24000), testArea)
				if err != nil {
					return err
				}
				defer s.Kill()
				children, err := forkMany(s, n)
				if err != nil {
					return err
				}
				defer endChildren(s, children)
				h := newNamespace(b)
				for b.Loop() {
					if err := JoinAll(children, h.FD()); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}
