// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

const (
	second      clockstate.Nanos = 1_000_000_000
	millisecond clockstate.Nanos = 1_000_000
)

// sourceHost is a host one hour after boot, ten minutes of which it was
// suspended, with good time.
func sourceHost() clockstate.HostReading {
	return clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic:       3000 * second,
			MonotonicRaw:    3000*second - 250*millisecond,
			MonotonicCoarse: 3000*second - 3*millisecond,
			Boottime:        3600 * second,
		},
		Realtime:  1_700_000_000 * second,
		TAI:       1_700_000_037 * second,
		Width:     200,
		WallClock: clockstate.WallClock{Known: true, Synchronised: true, MaxError: 20 * millisecond, EstError: millisecond, TAIOffset: 37},
		BootID:    "11111111-aaaa-4000-8000-000000000001",
	}
}

// tree is a state of two processes on h, the child in a time namespace of its
// own, with a third namespace chosen for its children.
func tree(t testing.TB, h clockstate.HostReading) *clockstate.State {
	t.Helper()
	s := &clockstate.State{
		ToolVersion:  "v0.1.0",
		Host:         clockstate.Host{BootID: h.BootID, Hostname: "alpha", KernelRelease: "6.18.44"},
		Freeze:       h,
		FreezeSource: clockstate.FreezeWatched,
		FreezeWindow: millisecond,
		RootPID:      100,
		Engine:       "criu 4.2.1",
		Namespaces: []clockstate.Namespace{
			{ID: 4026531834},
			{ID: 4026532001, Offsets: clockstate.Offsets{Monotonic: 1000 * second, Boottime: -5 * second}},
			{ID: 4026532002, Offsets: clockstate.Offsets{Monotonic: -1, Boottime: 1}},
		},
		Processes: []clockstate.Process{
			{PID: 1, OuterPID: 100, ParentPID: 7, Comm: "parent", StartTime: 5000, Namespace: 4026531834, NamespaceForChildren: 4026532001, Threads: 1},
			{
				PID: 2, OuterPID: 101, ParentPID: 100, Comm: "ch\xffild", StartTime: 6000, Namespace: 4026532001, NamespaceForChildren: 4026532002, Threads: 4,
				CPU: clockstate.CPUTime{User: 3 * second, System: 4},
			},
		},
	}
	fillReadings(t, s)
	return s
}

// fillReadings gives every process what its namespace makes of the host's
// clocks.
func fillReadings(t testing.TB, s *clockstate.State) {
	t.Helper()
	for i := range s.Processes {
		p := &s.Processes[i]
		at := slices.IndexFunc(s.Namespaces, func(ns clockstate.Namespace) bool { return ns.ID == p.Namespace })
		r, err := s.Freeze.Shift(s.Namespaces[at].Offsets)
		if err != nil {
			t.Fatal(err)
		}
		p.Readings = r
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", clockstate.MaxText+1)
	for _, tc := range []struct {
		name   string
		change func(s *clockstate.State)
		err    error
		says   string
	}{
		{name: "nothing wrong", change: func(*clockstate.State) {}},
		{name: "format of an image", change: func(s *clockstate.State) { s.Format = clockstate.CurrentFormat() }},
		{name: "newer minor", change: func(s *clockstate.State) { s.Format = clockstate.Version{Major: 1, Minor: 99} }},
		{name: "newer major", change: func(s *clockstate.State) { s.Format.Major = 2 }, err: clockstate.ErrNewer, says: "format 2.0"},
		{name: "format 0.1", change: func(s *clockstate.State) { s.Format.Minor = 1 }, err: clockstate.ErrInvalid, says: "format 0.1"},
		{name: "no freeze source", change: func(s *clockstate.State) { s.FreezeSource = 0 }, err: clockstate.ErrInvalid, says: "freeze source"},
		{name: "unknown freeze source", change: func(s *clockstate.State) { s.FreezeSource = 5 }, err: clockstate.ErrInvalid, says: "freeze source"},
		{name: "negative freeze window", change: func(s *clockstate.State) { s.FreezeWindow = -1 }, err: clockstate.ErrInvalid, says: "freeze window"},
		{name: "two boots", change: func(s *clockstate.State) { s.Host.BootID = "other" }, err: clockstate.ErrInvalid, says: "boot"},
		{name: "tool version not text", change: func(s *clockstate.State) { s.ToolVersion = "\xff" }, err: clockstate.ErrInvalid, says: "UTF-8"},
		{name: "engine too long", change: func(s *clockstate.State) { s.Engine = long }, err: clockstate.ErrInvalid, says: "engine"},
		{name: "host name of any bytes", change: func(s *clockstate.State) { s.Host.Hostname = "\xff\x00" }},
		{name: "host name too long", change: func(s *clockstate.State) { s.Host.Hostname = long }, err: clockstate.ErrInvalid, says: "host name"},
		{name: "negative clock", change: func(s *clockstate.State) { s.Freeze.MonotonicRaw = -1 }, err: clockstate.ErrOutOfRange, says: "CLOCK_MONOTONIC_RAW"},
		{name: "clock too large", change: func(s *clockstate.State) { s.Freeze.Boottime = clockstate.MaxReading + 1 }, err: clockstate.ErrOutOfRange, says: "CLOCK_BOOTTIME"},
		{name: "negative width", change: func(s *clockstate.State) { s.Freeze.Width = -1 }, err: clockstate.ErrInvalid, says: "width"},
		{name: "useless width", change: func(s *clockstate.State) { s.Freeze.Width = 61 * second }, err: clockstate.ErrInvalid, says: "apart"},
		{name: "coarse ahead", change: func(s *clockstate.State) { s.Freeze.MonotonicCoarse = s.Freeze.Monotonic + 201 }, err: clockstate.ErrInvalid, says: "COARSE"},
		{name: "before 1970", change: func(s *clockstate.State) { s.Freeze.Realtime = -1 }, err: clockstate.ErrInvalid, says: "CLOCK_REALTIME"},
		{name: "negative tick", change: func(s *clockstate.State) { s.Freeze.Tick.Lag = -1 }, err: clockstate.ErrInvalid, says: "tick"},
		{name: "namespace without id", change: func(s *clockstate.State) { s.Namespaces[2].ID = 0 }, err: clockstate.ErrInvalid, says: "no id"},
		{name: "namespace twice", change: func(s *clockstate.State) { s.Namespaces[2].ID = s.Namespaces[0].ID }, err: clockstate.ErrInvalid, says: "twice"},
		{name: "namespace below zero", change: func(s *clockstate.State) { s.Namespaces[2].Offsets.Monotonic = -3000 * second }, err: clockstate.ErrOutOfRange, says: "4026532002"},
		{name: "namespace overflows", change: func(s *clockstate.State) { s.Namespaces[2].Offsets.Boottime = 1<<63 - 1 }, err: clockstate.ErrOverflow, says: "CLOCK_BOOTTIME"},
		{name: "too many namespaces", change: func(s *clockstate.State) { s.Namespaces = make([]clockstate.Namespace, clockstate.MaxNamespaces+1) }, err: clockstate.ErrInvalid, says: "at most"},
		{name: "too many processes", change: func(s *clockstate.State) { s.Processes = make([]clockstate.Process, clockstate.MaxProcesses+1) }, err: clockstate.ErrInvalid, says: "at most"},
		{name: "no processes", change: func(s *clockstate.State) { s.Processes = nil }, err: clockstate.ErrInvalid, says: "root process 100"},
		{name: "no root", change: func(s *clockstate.State) { s.RootPID = 1 }, err: clockstate.ErrInvalid, says: "root process 1 "},
		{name: "process twice", change: func(s *clockstate.State) { s.Processes[1].OuterPID = 100 }, err: clockstate.ErrInvalid, says: "process 100 is listed twice"},
		{name: "same pid in two pid namespaces", change: func(s *clockstate.State) { s.Processes[1].PID = 1 }},
		{name: "pid zero", change: func(s *clockstate.State) { s.Processes[1].PID = 0 }, err: clockstate.ErrInvalid, says: "not positive"},
		{name: "negative parent", change: func(s *clockstate.State) { s.Processes[1].ParentPID = -1 }, err: clockstate.ErrInvalid, says: "parent"},
		{name: "negative threads", change: func(s *clockstate.State) { s.Processes[1].Threads = -1 }, err: clockstate.ErrInvalid, says: "threads"},
		{name: "negative CPU time", change: func(s *clockstate.State) { s.Processes[1].CPU.User = -1 }, err: clockstate.ErrInvalid, says: "CPU time"},
		{name: "comm too long", change: func(s *clockstate.State) { s.Processes[1].Comm = long }, err: clockstate.ErrInvalid, says: "comm"},
		{name: "unknown namespace", change: func(s *clockstate.State) { s.Processes[1].Namespace = 5 }, err: clockstate.ErrInvalid, says: "time namespace 5 "},
		{name: "unknown namespace for children", change: func(s *clockstate.State) { s.Processes[1].NamespaceForChildren = 6 }, err: clockstate.ErrInvalid, says: "time namespace 6 "},
		{name: "readings of another namespace", change: func(s *clockstate.State) { s.Processes[1].Readings.Boottime++ }, err: clockstate.ErrInvalid, says: "process 101"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tree(t, sourceHost())
			tc.change(s)
			err := s.Validate()
			if !errors.Is(err, tc.err) {
				t.Fatalf("Validate() = %v, want %v", err, tc.err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Validate() = %q, which does not say %q", err, tc.says)
			}
		})
	}
	if err := (*clockstate.State)(nil).Validate(); !errors.Is(err, clockstate.ErrInvalid) {
		t.Errorf("Validate() of nil = %v", err)
	}
}

func TestShift(t *testing.T) {
	in := clockstate.Readings{Monotonic: 1, MonotonicRaw: 2, MonotonicCoarse: 3, Boottime: 4}
	got, err := in.Shift(clockstate.Offsets{Monotonic: 10, Boottime: 100})
	want := clockstate.Readings{Monotonic: 11, MonotonicRaw: 12, MonotonicCoarse: 13, Boottime: 104}
	if err != nil || got != want {
		t.Errorf("Shift() = %+v, %v, want %+v", got, err, want)
	}
	if _, err := in.Shift(clockstate.Offsets{Boottime: 1<<63 - 1}); !errors.Is(err, clockstate.ErrOverflow) {
		t.Errorf("Shift() past the end = %v", err)
	}
	if got := (clockstate.Offsets{Monotonic: 1, Boottime: 2}).Of(clockstate.Realtime); got != 0 {
		t.Errorf("REALTIME is shifted by %v", got)
	}
}

// TestRoot looks up the root, and how long after the freeze it read a clock.
func TestRoot(t *testing.T) {
	s := &clockstate.State{RootPID: 2, Processes: []clockstate.Process{{OuterPID: 1}, {OuterPID: 2, Readings: clockstate.Readings{Monotonic: 100 * second}}}}
	if root, err := s.Root(); err != nil || root != &s.Processes[1] {
		t.Errorf("got %+v, %v", root, err)
	}
	for _, tt := range []struct{ read, want clockstate.Nanos }{
		{100*second + 5, 5},
		{100 * second, 0},
		{99 * second, 0},
		{160 * second, 60 * second},
		{161 * second, 0},
		{math.MinInt64, 0},
	} {
		if got := s.MeasuredLater(tt.read); got != tt.want {
			t.Errorf("read %d: %d later, want %d", tt.read, got, tt.want)
		}
	}
	s.RootPID = 3
	if root, err := s.Root(); !errors.Is(err, clockstate.ErrInvalid) || root != nil {
		t.Errorf("no root: got %+v, %v", root, err)
	}
	if got := s.MeasuredLater(math.MaxInt64); got != 0 {
		t.Errorf("no root: %d later", got)
	}
}

func TestUnshared(t *testing.T) {
	s := &clockstate.State{Processes: []clockstate.Process{
		{OuterPID: 1, Namespace: 5, NamespaceForChildren: 5},
		{OuterPID: 2, Namespace: 5, NamespaceForChildren: 6},
		{OuterPID: 3, Namespace: 6, NamespaceForChildren: 6},
		{OuterPID: 4, Namespace: 5, NamespaceForChildren: 6},
	}}
	if got, want := s.Unshared(), map[uint64]int32{6: 2}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
