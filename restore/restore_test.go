// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
)

// stateOf makes a state of one process with the given pid, frozen now.
func stateOf(t *testing.T, pid int) *clockstate.State {
	t.Helper()
	clocks, err := hostclock.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	now, err := clocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	return &clockstate.State{
		Freeze: now, FreezeSource: clockstate.FreezeWatched, RootPID: int32(pid),
		Namespaces: []clockstate.Namespace{{ID: 1}},
		Processes: []clockstate.Process{{
			PID: int32(pid), OuterPID: int32(pid), Comm: "test", Namespace: 1, NamespaceForChildren: 1,
			Readings: now.Readings, Threads: 1,
		}},
	}
}

func TestAwaitPIDs(t *testing.T) {
	const free = 1 << 22 // Above the default pid_max of this machine's kernel.
	if err := awaitPIDs(t.Context(), stateOf(t, free)); err != nil {
		t.Errorf("a free number: %v", err)
	}
	err := awaitPIDs(t.Context(), stateOf(t, os.Getpid()))
	if !errors.Is(err, ErrPIDTaken) || !strings.Contains(err.Error(), "restore.test") {
		t.Errorf("our own number: %v", err)
	}
}

func TestAwaitPIDsWaitsForZombie(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		reaped <- cmd.Wait()
	}()
	// Right after its start it may still be running, which is an error at once.
	var err error
	for range 1000 {
		if err = awaitPIDs(t.Context(), stateOf(t, cmd.Process.Pid)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Error(err)
	}
	if err := <-reaped; err != nil {
		t.Error(err)
	}
}

func TestAwaitPIDsCancelled(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := awaitPIDs(ctx, stateOf(t, cmd.Process.Pid)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestMakeNamespaces makes what processes lived in, but not what one had made for its
// children.
func TestMakeNamespaces(t *testing.T) {
	s := stateOf(t, 10)
	for _, p := range [][2]uint64{{1, 2}, {2, 3}, {4, 4}, {3, 3}} {
		process := s.Processes[0]
		process.OuterPID += int32(len(s.Processes))
		process.Namespace, process.NamespaceForChildren = p[0], p[1]
		s.Processes = append(s.Processes, process)
	}
	made, err := makeNamespaces(s)
	if err != nil {
		t.Skip(err)
	}
	defer made.Close()
	if got := slices.Sorted(maps.Keys(made)); !slices.Equal(got, []uint64{1, 4}) {
		t.Errorf("made %v", got)
	}
}

func TestHeedWallClock(t *testing.T) {
	clocks, err := hostclock.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	const ahead = clockstate.Nanos(60 * time.Millisecond)
	tests := []struct {
		name   string
		behind clockstate.Nanos
		opts   Options
		want   error
		waits  bool
	}{
		{"not behind, fail", -ahead, Options{WallClock: WallClockFail}, nil, false},
		{"behind, warn", ahead, Options{}, nil, false},
		{"behind, fail", ahead, Options{WallClock: WallClockFail}, ErrWallClock, false},
		{"behind, wait", ahead, Options{WallClock: WallClockWait}, nil, true},
		{"behind too far, wait", ahead, Options{WallClock: WallClockWait, WaitLimit: time.Millisecond}, ErrWallClock, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := stateOf(t, 10)
			s.Freeze.Realtime += tt.behind
			target := s.Freeze.Realtime
			if err := heedWallClock(t.Context(), &Images{State: s}, clocks, tt.opts); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			now, err := clocks.Read()
			if err != nil {
				t.Fatal(err)
			}
			if caughtUp := now.Realtime >= target; tt.waits && !caughtUp {
				t.Error("did not wait long enough")
			}
		})
	}
}

func TestParseWallClock(t *testing.T) {
	for _, w := range []WallClock{WallClockWarn, WallClockWait, WallClockFail} {
		if got, err := ParseWallClock(w.String()); got != w || err != nil {
			t.Errorf("%v: got %v, %v", w, got, err)
		}
	}
	if _, err := ParseWallClock("ignore"); err == nil {
		t.Error("an unknown name was accepted")
	}
}

func TestParseLead(t *testing.T) {
	for text, want := range map[string]time.Duration{"auto": 0, "250ms": 250 * time.Millisecond} {
		if got, err := ParseLead(text); got != want || err != nil {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0s", "-3s", "250", "Auto"} {
		if _, err := ParseLead(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
