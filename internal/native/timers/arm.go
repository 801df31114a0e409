// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/timens"
)

// Plan says when timers are to fire. The zero value means: each when what was
// left of it has passed since it was armed.
type Plan struct {
	Due Due
	// Ahead is by how much the clocks of the process's time namespace are ahead of
	// crtime's own, for a caller that knows. nil: it is read from /proc, which
	// takes longer than all else for a process with few timers.
	Ahead *clockstate.Offsets
}

// Arm is Plan.Arm without knowing how far ahead the process's clocks are.
func Arm(s *criuimg.Set, pid uint32, stub *remote.Stub, due Due) error {
	return Plan{Due: due}.Arm(s, pid, stub)
}

// Arm starts all timers of a process. It comes last: the process lives in its
// time namespace, its timers have been made, and in the stub all signals are
// blocked, so that what fires at once is pending when the process goes on. Its
// signals are queued after that: Arm takes out of s those that timers send again.
//
// What takes a point in time is due then, exactly. What takes spans alone is late
// by the time from reading the clock to the system call, some tens of
// microseconds.
//
// What lies in the past fires at once. A timer with a period goes on with its own
// phase, and its signal says how many periods have passed. One that was due before
// this machine was booted takes a span too, see beforeBoot.
func (p Plan) Arm(s *criuimg.Set, pid uint32, stub *remote.Stub) error {
	image := s.Process[pid]
	if image == nil || image.Core.GetTc().GetTimers() == nil {
		return nil
	}
	a := arming{Plan: p, pid: pid, in: stub, untaken: takeSignals(image, pid)}
	for _, step := range []func(*timer.TaskTimersEntry) error{a.points, a.cpuTimers, a.spans} {
		if err := step(image.Core.Tc.Timers); err != nil {
			return fmt.Errorf("start the timers of process %d: %w", pid, err)
		}
	}
	return nil
}

// arming is one Arm.
type arming struct {
	Plan
	pid     uint32
	in      caller
	untaken untaken
	// early are timers that take points in time, but that were due before any that
	// the kernel can be told.
	early []spanTimer
}

// ahead is how far the process's clocks are ahead of crtime's.
func (a *arming) ahead() (shift, error) {
	if a.Ahead != nil {
		return shift(*a.Ahead), nil
	}
	return new(shifts).of(int(a.pid))
}

// deadline is when a timer is to fire on its timeline as crtime reads it.
func (a *arming) deadline(t Timer) (int64, error) {
	if a.Due != nil {
		return a.Due(t), nil
	}
	read, err := now(t.Timeline())
	return add(read, int64(t.Left)), err
}

// points arms what is set to a point in time, in the process's own clock. That
// clock is ahead of crtime's by the offset of its time namespace, which is known
// to the nanosecond: nothing is lost however long it takes.
func (a *arming) points(all *timer.TaskTimersEntry) error {
	var list []spanTimer
	for _, e := range all.GetPosix() {
		t, ok := posixTimer(a.pid, e)
		if !ok || t.span() {
			continue
		}
		t = a.untaken.of(t)
		deadline, err := a.deadline(t)
		if err != nil {
			return err
		}
		list = append(list, spanTimer{Timer: t, posix: posixOf(e), at: deadline})
	}
	if len(list) == 0 {
		return nil
	}
	ahead, err := a.ahead()
	if err != nil {
		return err
	}
	tai, err := taiAhead()
	if err != nil {
		return err
	}
	for part := range slices.Chunk(list, mostTimers) {
		var b batch
		for _, t := range part {
			if early, err := t.beforeBoot(); err != nil {
				return err
			} else if early {
				a.early = append(a.early, t)
				continue
			}
			deadline := t.at
			if t.Clock == unix.CLOCK_TAI {
				deadline = add(deadline, tai)
			}
			deadline = add(deadline, ahead.of(t.Clock))
			b.settime(t.ID, unix.TIMER_ABSTIME, span{int64(t.Interval), representable(deadline, int64(t.Interval))})
		}
		if err := b.run(a.in); err != nil {
			return err
		}
	}
	return nil
}

// cpuTimers arms what counts CPU time: with what was left, whenever that may be.
func (a *arming) cpuTimers(all *timer.TaskTimersEntry) error {
	var list []*timer.PosixTimerEntry
	for _, e := range all.GetPosix() {
		if left, _ := posixTimes(e); left > 0 && !clockID(e.GetClockId()).wall() {
			list = append(list, e)
		}
	}
	for part := range slices.Chunk(list, mostTimers) {
		var b batch
		for _, e := range part {
			left, interval := posixTimes(e)
			b.settime(int32(e.GetItId()), 0, span{interval, left})
		}
		if err := b.run(a.in); err != nil {
			return err
		}
	}
	return a.cpuItimers(all)
}

// cpuItimers arms the interval timers that count CPU time.
func (a *arming) cpuItimers(all *timer.TaskTimersEntry) error {
	tick, err := tickMicros()
	if err != nil {
		return err
	}
	var b batch
	for _, one := range []struct {
		which int
		name  string
		entry *timer.ItimerEntry
	}{{itimerVirtual, "ITIMER_VIRTUAL", all.GetVirt()}, {itimerProf, "ITIMER_PROF", all.GetProf()}} {
		left, interval := itimerTimes(one.entry)
		if left == 0 && interval == 0 {
			continue
		}
		// An interval without a value is a state of its own, which getitimer
		// shows: such a timer does not run, and remembers the interval.
		if left > 0 {
			left = max(left/nanosPerMicro-tick, 1)
		}
		b.setitimer(one.name, one.which, span{interval / nanosPerMicro, left})
	}
	return b.run(a.in)
}

// tickMicros is what the kernel adds to an interval timer on CPU time when it is
// set (set_cpu_itimer of kernel/time/itimer.c), so that it is not early although
// it is looked at once in a tick: the length of a tick. With every dump and
// restore it would become longer. The coarse clocks go forward by ticks.
func tickMicros() (int64, error) {
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return 0, fmt.Errorf("ask how long a tick is: %w", err)
	}
	return tick.Nano() / nanosPerMicro, nil
}

// spans arms what takes spans alone, each counted from a clock that was read
// just before.
func (a *arming) spans(all *timer.TaskTimersEntry) error {
	var list []spanTimer
	if t, ok := realTimer(a.pid, all.GetReal()); ok {
		list = append(list, spanTimer{Timer: t})
	}
	for _, e := range all.GetPosix() {
		if t, ok := posixTimer(a.pid, e); ok && t.span() {
			list = append(list, spanTimer{Timer: a.untaken.of(t), posix: posixOf(e)})
		}
	}
	// All deadlines first: what due does takes time.
	for i := range list {
		var err error
		if list[i].at, err = a.deadline(list[i].Timer); err != nil {
			return err
		}
	}
	for _, t := range a.early {
		var err error
		if t.at, err = onMonotonic(t.Timeline(), t.at); err != nil {
			return err
		}
		list = append(list, t)
	}
	for part := range slices.Chunk(list, mostTimers) {
		read, err := now(unix.CLOCK_MONOTONIC)
		if err != nil {
			return err
		}
		var b batch
		for _, t := range part {
			t.start(&b, startAt(t.at, read, int64(t.Interval)))
		}
		if err := b.run(a.in); err != nil {
			return err
		}
	}
	return nil
}

// onMonotonic is what crtime's MONOTONIC reads when another clock reads at.
func onMonotonic(clock int32, at int64) (int64, error) {
	there, err := now(clock)
	if err != nil {
		return 0, err
	}
	here, err := now(unix.CLOCK_MONOTONIC)
	return add(at, sub(here, there)), err
}

// spanTimer is a timer and when it is due, as crtime reads its timeline. That of what
// takes spans alone is MONOTONIC.
type spanTimer struct {
	Timer
	posix posix // Unless it is an interval timer.
	at    int64
}

// beforeBoot reports whether a timer with a period was due before this machine was
// booted, on a clock that a time namespace shifts. Such a point in time may well be
// one on the process's own clock, but for the kernel it is a negative one on its own,
// of which it makes 0 (timens_ktime_to_host of kernel/time/namespace.c): the timer
// would lose its phase, and periods that have passed.
func (t spanTimer) beforeBoot() (bool, error) {
	if t.Interval == 0 || t.Timeline() == unix.CLOCK_REALTIME {
		return false, nil
	}
	// To ask for crtime's own offsets takes longer than to arm a timer. Few timers are
	// past due.
	if read, err := now(t.Timeline()); err != nil || t.at >= read {
		return false, err
	}
	own, err := timens.OffsetsOf(0)
	if err != nil && !errors.Is(err, timens.ErrNotSupported) {
		return false, fmt.Errorf("the offsets of crtime's own clocks: %w", err)
	}
	return sub(t.at, shift(own).of(t.Clock)) < 1, nil
}

// start adds the calls that start the timer, and, if it was due, send what it
// would have sent.
func (t spanTimer) start(b *batch, s setting) {
	pid := int(t.PID)
	if t.ID == IntervalTimer {
		b.setitimer("ITIMER_REAL", itimerReal, span{ceilMicros(int64(t.Interval)), ceilMicros(s.value)})
		if s.fire {
			b.call("send SIGALRM", unix.SYS_RT_SIGQUEUEINFO, pid, int(unix.SIGALRM), b.put(signalInfo(unix.SIGALRM, siKernel)))
		}
		return
	}
	b.settime(t.ID, 0, span{int64(t.Interval), s.value})
	if !s.fire || t.posix.notify == notifyNone {
		return
	}
	info := b.put(t.posix.encodeSignal(int32(min(s.missed, math.MaxInt32))))
	name := fmt.Sprintf("send the signal of timer %d", t.ID)
	if t.posix.notify == notifyThreadID {
		b.call(name, unix.SYS_RT_TGSIGQUEUEINFO, pid, t.posix.thread, int(t.posix.signal), info)
		return
	}
	b.call(name, unix.SYS_RT_SIGQUEUEINFO, pid, int(t.posix.signal), info)
}

// settime adds the call that arms a POSIX timer, in nanoseconds.
func (b *batch) settime(id int32, flags int, s span) {
	b.call(fmt.Sprintf("timer_settime of timer %d", id), unix.SYS_TIMER_SETTIME, id, flags, b.put(s.encode(nanosPerSecond)))
}

// setitimer adds the call that arms an interval timer, in microseconds.
func (b *batch) setitimer(name string, which int, s span) {
	b.call("setitimer "+name, unix.SYS_SETITIMER, which, b.put(s.encode(microsPerSecond)))
}
