// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

// drawClocks draws clocks of a tree that go on from the freeze after an outage, and a
// moment at which CRIU arms the timers.
func drawClocks(t *rapid.T) (c *treeClocks, armed map[int32]clockstate.Nanos) {
	year := int64(365 * 24 * 3600 * second)
	c = &treeClocks{map[int32]clockstate.Nanos{}, map[int32]clockstate.Nanos{}, map[int32]clockstate.Nanos{}}
	armed = map[int32]clockstate.Nanos{}
	lead := clockstate.Nanos(rapid.Int64Range(1, int64(second/10)).Draw(t, "lead"))
	arm := clockstate.Nanos(rapid.Int64Range(0, int64(lead)).Draw(t, "arm"))
	for _, id := range []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME} {
		c.frozen[id] = clockstate.Nanos(rapid.Int64Range(int64(second), 50*year).Draw(t, "frozen"))
		c.released[id] = c.frozen[id] + clockstate.Nanos(rapid.Int64Range(0, year).Draw(t, "gone"))
		c.fixed[id] = c.released[id] - lead
		armed[id] = c.fixed[id] + arm
	}
	return c, armed
}

// TestTimerfd arms timers as CRIU does: none is early, and those of a clock that stays in
// its second are exact.
func TestTimerfd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, armed := drawClocks(t)
		clock := rapid.SampledFrom([]int32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME}).Draw(t, "clock")
		absolute := rapid.Bool().Draw(t, "absolute")
		left := clockstate.Nanos(rapid.Int64Range(1, int64(1000*second)).Draw(t, "left"))
		interval := clockstate.Nanos(rapid.SampledFrom([]int64{0, 1000, int64(second)}).Draw(t, "interval"))
		e := &timerfd.TimerfdEntry{Clockid: proto.Uint32(uint32(clock)), SettimeFlags: proto.Uint32(0)}
		if absolute {
			e.SettimeFlags = proto.Uint32(unix.TFD_TIMER_ABSTIME)
		}
		e.Vsec, e.Vnsec = split(left)
		e.Isec, e.Insec = split(interval)
		timeline, _ := timelineOf(clock, absolute)
		due := c.frozen[timeline] + left
		c.timerfd(e)
		now := armed[timeline]
		if e.GetVnsec() >= uint64(second) {
			t.Fatalf("%v", e)
		}
		if e.GetSettimeFlags()&unix.TFD_TIMER_ABSTIME != 0 {
			at := (clockstate.Nanos(int64(e.GetVsec()))+now/second)*second + clockstate.Nanos(e.GetVnsec())
			if at != due {
				t.Fatalf("it is due at %v, was to be at %v", at, due)
			}
			return
		}
		at := now + nanos(e.GetVsec(), e.GetVnsec())
		lead := c.released[timeline] - c.fixed[timeline]
		late := at - max(due, c.released[timeline])
		if interval > 0 && due <= c.released[timeline] {
			late = at - due - clockstate.Nanos(e.GetTicks())*interval
		}
		if late < 0 || late > lead+1 {
			t.Fatalf("it is %v late, with a lead of %v", late, lead)
		}
	})
}

// TestPosix has timers fire when they are due, counted from the release.
func TestPosix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := drawClocks(t)
		clock := rapid.SampledFrom([]int32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_PROCESS_CPUTIME_ID}).Draw(t, "clock")
		left := clockstate.Nanos(rapid.Int64Range(1, int64(1000*second)).Draw(t, "left"))
		e := &timer.PosixTimerEntry{ClockId: proto.Uint32(uint32(clock))}
		e.Vsec, e.Vnsec = split(left)
		c.posix(e)
		want := left
		if clock != unix.CLOCK_PROCESS_CPUTIME_ID {
			want = max(1, c.frozen[clock]+left-c.released[clock])
		}
		if got := nanos(e.GetVsec(), e.GetVnsec()); got != want {
			t.Fatalf("%v are left, want %v", got, want)
		}
	})
}

func TestItimer(t *testing.T) {
	c := &treeClocks{
		frozen:   map[int32]clockstate.Nanos{unix.CLOCK_MONOTONIC: 10 * second},
		released: map[int32]clockstate.Nanos{unix.CLOCK_MONOTONIC: 12 * second},
	}
	for _, tt := range []struct{ left, interval, want uint64 }{{5e6, 0, 3e6}, {1e6, 0, 1}, {500e3, 1e6, 500e3}, {0, 1e6, 0}} {
		e := &timer.ItimerEntry{
			Vsec: proto.Uint64(tt.left / 1e6), Vusec: proto.Uint64(tt.left % 1e6),
			Isec: proto.Uint64(tt.interval / 1e6), Iusec: proto.Uint64(tt.interval % 1e6),
		}
		c.itimer(e)
		if got := e.GetVsec()*1e6 + e.GetVusec(); got != tt.want {
			t.Errorf("%+v: %d us are left", tt, got)
		}
	}
}
