// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"math"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Timerfd is a timer that runs, as the images know it.
type Timerfd struct {
	ID       uint32        // Of the file.
	Clock    int32         // unix.CLOCK_REALTIME or one of the others that timerfd_create takes.
	Absolute bool          // It was set to a point in time, not to a span.
	Left     time.Duration // What was left of it at the dump. Never 0.
	Interval time.Duration // 0: it fires once.
}

// Timeline is the clock on which the timer runs. A span on REALTIME is counted
// by MONOTONIC, because setting the clock must not change it. That is not so with
// REALTIME_ALARM: the kernel turns such a span into a point in time at once
// (alarm_start_relative of its kernel/time/alarmtimer.c). An alarm clock reads the
// same as the one without an alarm.
func (t Timerfd) Timeline() int32 {
	switch {
	case t.Clock == unix.CLOCK_BOOTTIME_ALARM:
		return unix.CLOCK_BOOTTIME
	case t.Clock == unix.CLOCK_REALTIME_ALARM:
		return unix.CLOCK_REALTIME
	case t.Clock == unix.CLOCK_REALTIME && !t.Absolute:
		return unix.CLOCK_MONOTONIC
	default:
		return t.Clock
	}
}

// timerfds are the timers of a dump.
type timerfds struct{ list []foundTimer }

// foundTimer is an entry, where it was found, and when it is due on its timeline as
// crtime reads it, in nanoseconds; 0: it does not run.
type foundTimer struct {
	entry    *timerfd.TimerfdEntry
	place    timerPlace
	deadline int64
}

// CountTimersFrom makes the images say how much of each timer was left at the
// instant of the freeze. Without it they say what was left when the timer was
// looked at, which is later, so that it would fire too early. clock tells what
// crtime's own clock (one that Timerfd.Timeline can be) read at that instant, in
// nanoseconds. What timers have done since then is taken back: the expiries of those
// with a period can be counted; for one without, watch knows when it was due, if it was
// looked at in time. nil: it was not.
func (c *Collection) CountTimersFrom(clock func(id int32) int64, watch *TimerWatch) {
	for _, one := range noteOf[timerfds](c.notes).list {
		t := one.entry
		if one.deadline == 0 && timerInterval(t) == 0 && t.GetTicks() == 1 {
			if one.deadline = watch.deadline(one.place); one.deadline != 0 {
				t.Ticks = proto.Uint64(0)
			}
		}
		if one.deadline == 0 {
			continue
		}
		left, after := sinceFreeze(one.deadline, clock(timerOf(t).Timeline()), timerInterval(t), t.GetTicks())
		t.Ticks = proto.Uint64(t.GetTicks() - after)
		t.Vsec = proto.Uint64(uint64(left / nanosPerSecond))
		t.Vnsec = proto.Uint64(uint64(left % nanosPerSecond))
	}
}

// sinceFreeze is what was left at the freeze of a timer that is due at deadline now,
// and how often it has expired after the freeze. Ticks is how often it has since it was
// last read, and no less than that: a timer in a first wait that is longer than its
// period has not expired at all.
func sinceFreeze(deadline, frozen, interval int64, ticks uint64) (left int64, expired uint64) {
	left = max(deadline-frozen, 1)
	if interval > 0 && left > interval {
		expired = min(uint64((left-1)/interval), ticks)
		left -= int64(expired) * interval
	}
	return left, expired
}

// Due says when a timer that a process holds is to fire: a reading of its timeline as
// crtime itself has it, in nanoseconds. What lies in the past fires at once, with the
// number of periods that have passed.
type Due func(pid int, t Timerfd) int64

// timerDue is the note that holds what PlanTimers was given.
type timerDue struct{ due Due }

// PlanTimers sets when the timers that Arm starts are due. Without it each is
// due when what was left of it has passed since Arm.
func (r *Rebuild) PlanTimers(due Due) { noteOf[timerDue](r.notes).due = due }

// arm starts the timer, from crtime itself: the deadline is kept in the host's
// time once it is set, whatever time namespace its owner is in.
func (timerfdKind) arm(r *Rebuild, e *fdinfo.FileEntry, fd int) error {
	t := e.GetTfd()
	one := timerOf(t)
	if one.Left == 0 && one.Interval > 0 && t.GetTicks() > 0 {
		// It has expired, and nobody has read it since. The kernel starts it anew
		// then only when somebody looks, and CRIU does not: when it would have
		// expired next is not known, but it is no later than this.
		one.Left = one.Interval
	}
	if one.Left == 0 {
		return leaveStopped(fd, t)
	}
	now, err := timelineNow(t)
	if err != nil {
		return err
	}
	deadline := saturatingAdd(now, int64(one.Left))
	if due := noteOf[timerDue](r.notes).due; due != nil {
		deadline = due(r.process.PID(), one)
	}
	return startTimer(fd, t, deadline)
}

// leaveStopped gives a timer that does not run what can still be seen of it: how
// it was set, its period, and that it has expired.
func leaveStopped(fd int, t *timerfd.TimerfdEntry) error {
	if t.GetSettimeFlags() != 0 || timerInterval(t) != 0 {
		value := unix.ItimerSpec{Interval: unix.NsecToTimespec(timerInterval(t))}
		if err := unix.TimerfdSettime(fd, int(t.GetSettimeFlags()), &value, nil); err != nil {
			return fmt.Errorf("set the timer's flags: %w", err)
		}
	}
	if t.GetTicks() == 0 {
		return nil
	}
	return countTicks(fd, t.GetTicks())
}

// countTicks sets how often a timer has expired.
func countTicks(fd int, ticks uint64) error {
	if err := setTicks(fd, ticks); err != nil {
		return fmt.Errorf("set the timer's count to %d: %w", ticks, err)
	}
	return nil
}

// startTimer sets a timer to a deadline in the way its owner did, so that the
// kernel treats it the same when REALTIME is set. A period goes on with its own
// phase, and what it has missed is counted.
//
// The count can be set only when the timer runs, and what it counts by itself
// until then is lost. So if it may have expired meanwhile all is done again. Where the
// calls take longer than a period, those that will pass are counted in advance.
func startTimer(fd int, t *timerfd.TimerfdEntry, deadline int64) error {
	flags := int(t.GetSettimeFlags())
	const attempts = 100
	ahead := int64(0) // Periods.
	for range attempts {
		now, err := timelineNow(t)
		if err != nil {
			return err
		}
		left, missed := startAt(deadline, now, timerInterval(t))
		left, missed = saturatingAdd(left, ahead*timerInterval(t)), missed+uint64(ahead)
		at := left
		if flags&unix.TFD_TIMER_ABSTIME != 0 {
			at = max(deadline, 1) // 0 would stop it.
			if missed > 0 {
				at = saturatingAdd(now, left)
			}
		}
		value := unix.ItimerSpec{Value: unix.NsecToTimespec(at), Interval: unix.NsecToTimespec(timerInterval(t))}
		if err := unix.TimerfdSettime(fd, flags, &value, nil); err != nil {
			return fmt.Errorf("start the timer: %w", err)
		}
		ticks := t.GetTicks() + min(missed, math.MaxUint64-t.GetTicks())
		if ticks == 0 {
			return nil
		}
		if err := countTicks(fd, ticks); err != nil {
			return err
		}
		after, err := timelineNow(t)
		if err != nil {
			return err
		}
		if after < saturatingAdd(now, left) {
			return nil
		}
		if took := after - now; took >= timerInterval(t) && timerInterval(t) > 0 {
			ahead = max(ahead, took/timerInterval(t)) + 1
		}
	}
	return nil
}

// startAt tells what is left of a timer that is due at deadline when its clock
// reads now, at least 1, and how often one with a period has expired by then. What
// was due once and is past has the kernel count it.
func startAt(deadline, now, interval int64) (left int64, missed uint64) {
	switch {
	case deadline > now:
		return deadline - now, 0
	case interval <= 0:
		return 1, 0
	}
	late := uint64(now) - uint64(deadline) // It may be more than an int64 holds.
	period := uint64(interval)
	return int64(period - late%period), 1 + late/period
}

// timerOf is an entry in Go's terms.
func timerOf(t *timerfd.TimerfdEntry) Timerfd {
	return Timerfd{
		ID: t.GetId(), Clock: int32(t.GetClockid()), Absolute: t.GetSettimeFlags()&unix.TFD_TIMER_ABSTIME != 0,
		Left: time.Duration(timerLeft(t)), Interval: time.Duration(timerInterval(t)),
	}
}

// timerLeft is what is left of a timer in nanoseconds; 0: it does not run.
func timerLeft(t *timerfd.TimerfdEntry) int64 {
	return int64(t.GetVsec())*nanosPerSecond + int64(t.GetVnsec())
}

// timerInterval is a timer's period in nanoseconds; 0: it fires once.
func timerInterval(t *timerfd.TimerfdEntry) int64 {
	return int64(t.GetIsec())*nanosPerSecond + int64(t.GetInsec())
}

// timelineNow reads the clock on which a timer runs.
func timelineNow(t *timerfd.TimerfdEntry) (int64, error) {
	var now unix.Timespec
	clock := timerOf(t).Timeline()
	if err := unix.ClockGettime(clock, &now); err != nil {
		return 0, fmt.Errorf("read clock %d: %w", clock, err)
	}
	return now.Nano(), nil
}

// saturatingAdd adds what is not negative to a point in time.
func saturatingAdd(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
