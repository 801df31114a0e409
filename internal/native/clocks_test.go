// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/criuimg"
)

// source is a tree that has been dumped: what it read at the freeze, by which engine
// it was dumped, and what the images say.
type source struct {
	frozen clockstate.Readings
	engine string
	set    criuimg.Set
}

// shift is for a tree that gets offsets, in a crtime that lives in the initial
// namespace.
func (src *source) shift(offsets clockstate.Offsets) (*timelineShift, error) {
	s := &clockstate.State{
		RootPID:   7,
		Engine:    src.engine,
		Freeze:    clockstate.HostReading{Realtime: 1e18, TAI: 1e18 + 37e9},
		Processes: []clockstate.Process{{PID: 7, OuterPID: 7, Namespace: 1, Readings: src.frozen}},
	}
	plan := &clockstate.Plan{State: s, Namespaces: []clockstate.PlannedNamespace{{ID: 1, Offsets: offsets}}}
	shifts, err := newTimelineShifts(s, plan, clockstate.Offsets{}, &src.set)
	return shifts[1], err
}

// TestDue checks that a timer is due when its clock, as the tree will read it, has
// moved on by what was left at the freeze.
func TestDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const century = clockstate.Nanos(100 * 365 * 24 * 3600 * 1e9)
		draw := func(name string, low clockstate.Nanos) clockstate.Nanos {
			return clockstate.Nanos(rapid.Int64Range(int64(low), int64(century)).Draw(t, name))
		}
		frozen := clockstate.Readings{Monotonic: draw("monotonic", 0), Boottime: draw("boottime", 0)}
		offsets := clockstate.Offsets{Monotonic: draw("o mono", -century), Boottime: draw("o boot", -century)}
		left := draw("left", 0)
		shift, err := (&source{frozen: frozen, engine: Name}).shift(offsets)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			timeline int32
			frozen   clockstate.Nanos
			ahead    clockstate.Nanos // The tree's clock, of crtime's own.
		}{
			{unix.CLOCK_MONOTONIC, frozen.Monotonic, offsets.Monotonic},
			{unix.CLOCK_BOOTTIME, frozen.Boottime, offsets.Boottime},
			{unix.CLOCK_REALTIME, 1e18, 0},
			{unix.CLOCK_TAI, 1e18 + 37e9, 0},
		} {
			theirs := clockstate.Nanos(shift.due(c.timeline, int64(left))) + c.ahead
			if theirs != c.frozen+left {
				t.Fatalf("clock %d: due when the tree reads %d, want %d", c.timeline, theirs, c.frozen+left)
			}
		}
	})
}

func TestDueNever(t *testing.T) {
	shift, err := (&source{frozen: clockstate.Readings{Monotonic: 5}, engine: Name}).shift(clockstate.Offsets{})
	if err != nil {
		t.Fatal(err)
	}
	if at := shift.due(unix.CLOCK_MONOTONIC, math.MaxInt64); at != math.MaxInt64 {
		t.Errorf("a timer that never fires is due at %d", at)
	}
}

// TestDueOfCRIU checks that timers of CRIU's images, which measure them after the
// freeze, are late rather than early.
func TestDueOfCRIU(t *testing.T) {
	frozen := clockstate.Readings{Monotonic: 100e9, Boottime: 200e9}
	for _, tt := range []struct {
		name   string
		engine string
		read   uint64 // What the images say that MONOTONIC read, in seconds.
		want   int64
	}{
		{"CRIU", "criu", 103, 113e9},
		{"our own", Name, 103, 110e9},
		{"another dump's", "criu", 400, 110e9},
		{"before the freeze", "criu", 99, 110e9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := &source{frozen: frozen, engine: tt.engine, set: criuimg.Set{TimeNS: &timens.TimensEntry{
				Monotonic: &timens.Timespec{TvSec: proto.Uint64(tt.read), TvNsec: proto.Uint64(0)},
			}}}
			shift, err := src.shift(clockstate.Offsets{})
			if err != nil {
				t.Fatal(err)
			}
			if got := shift.due(unix.CLOCK_MONOTONIC, 10e9); got != tt.want {
				t.Errorf("10 s after the freeze is at %d, want %d", got, tt.want)
			}
		})
	}
}

func TestNoRoot(t *testing.T) {
	s := &clockstate.State{RootPID: 3, Processes: []clockstate.Process{{OuterPID: 4}}}
	plan := &clockstate.Plan{State: s, Namespaces: []clockstate.PlannedNamespace{{}}}
	if _, err := newTimelineShifts(s, plan, clockstate.Offsets{}, &criuimg.Set{}); err == nil {
		t.Error("a state without its root was accepted")
	}
	s.RootPID, s.Processes[0].Namespace = 4, 1
	if _, err := newTimelineShifts(s, plan, clockstate.Offsets{}, &criuimg.Set{}); err == nil {
		t.Error("a plan without a process's namespace was accepted")
	}
}
