// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
)

// IntervalTimer is the ID of a process's ITIMER_REAL.
const IntervalTimer = -1

// Timer is a timer that runs on a clock that goes on by itself, as the images
// know it. (What runs on CPU time is not for anybody to plan.)
type Timer struct {
	PID      uint32        // Whose it is.
	ID       int32         // As timer_create gave it, or IntervalTimer.
	Clock    int32         // unix.CLOCK_REALTIME, MONOTONIC, BOOTTIME, TAI or an alarm clock.
	Absolute bool          // It is on REALTIME and known to have been set to a point in time.
	Left     time.Duration // What was left of it at the dump. Negative: it had expired, and waited for its signal to be taken.
	Interval time.Duration // 0: it fires once.
}

// Timeline is the clock by which the timer is planned: MONOTONIC, BOOTTIME or
// REALTIME.
//
// A span on REALTIME is counted by MONOTONIC, because setting the clock must not
// change it. That is not so with REALTIME_ALARM: the kernel turns such a span
// into a point in time at once. An alarm clock reads the same as the one without
// an alarm, and TAI goes with REALTIME: by the time that lies between them here,
// which need not be what it was there.
func (t Timer) Timeline() int32 {
	switch t.Clock {
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return unix.CLOCK_BOOTTIME
	case unix.CLOCK_TAI, unix.CLOCK_REALTIME_ALARM:
		return unix.CLOCK_REALTIME
	case unix.CLOCK_REALTIME:
		if t.Absolute {
			return unix.CLOCK_REALTIME
		}
	}
	return unix.CLOCK_MONOTONIC
}

// span reports whether the kernel must be given a span when the timer is armed:
// it then runs on another clock than with a point in time, or the kernel takes
// nothing else.
func (t Timer) span() bool {
	return t.ID == IntervalTimer || t.Clock == unix.CLOCK_REALTIME && !t.Absolute
}

// Due says when a timer is to fire: a reading of its timeline as crtime itself
// has it, in nanoseconds. What lies in the past fires at once, with the number
// of periods that have passed.
type Due func(t Timer) int64

// posixTimer is an image's entry in terms of time. ok is false for a timer that
// does not run, or that runs on CPU time.
func posixTimer(pid uint32, e *timer.PosixTimerEntry) (t Timer, ok bool) {
	left, interval := posixTimes(e)
	if left == 0 || !clockID(e.GetClockId()).wall() {
		return Timer{}, false
	}
	return Timer{
		PID: pid, ID: int32(e.GetItId()), Clock: int32(e.GetClockId()), Absolute: absolute(e),
		Left: time.Duration(left), Interval: time.Duration(interval),
	}, true
}

// realTimer is posixTimer for ITIMER_REAL.
func realTimer(pid uint32, e *timer.ItimerEntry) (t Timer, ok bool) {
	left, interval := itimerTimes(e)
	if left == 0 {
		// It was caught after it had expired and before its process took the
		// signal, which starts it anew. It is not known when that expiry was.
		left = interval
	}
	if left == 0 {
		return Timer{}, false
	}
	return Timer{
		PID: pid, ID: IntervalTimer, Clock: unix.CLOCK_MONOTONIC,
		Left: time.Duration(left), Interval: time.Duration(interval),
	}, true
}

// posixTimes are the times of an entry in nanoseconds. left is 0 if the timer
// does not run: an interval alone means that it was caught at its end.
func posixTimes(e *timer.PosixTimerEntry) (left, interval int64) {
	left = int64(e.GetVsec())*nanosPerSecond + int64(e.GetVnsec())
	interval = int64(e.GetIsec())*nanosPerSecond + int64(e.GetInsec())
	if left == 0 {
		left = interval
	}
	return left, interval
}

// itimerTimes are the times of an entry in nanoseconds, as they stand there.
func itimerTimes(e *timer.ItimerEntry) (left, interval int64) {
	left = int64(e.GetVsec())*nanosPerSecond + int64(e.GetVusec())*nanosPerMicro
	return left, int64(e.GetIsec())*nanosPerSecond + int64(e.GetIusec())*nanosPerMicro
}
