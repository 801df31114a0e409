// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// state is what a process says of one of its timers.
type state struct {
	span
	overrun int64
	// What clocks read about when the timer was asked: the one by which it is
	// planned if it was set to a span, and, for a timer on REALTIME, that one too.
	near, real bracket
}

// bracket is what a clock read before and after something.
type bracket struct{ before, after int64 }

// posix reads some POSIX timers of a process.
func (c *collector) posix(r *reading, in caller, list []posix) error {
	var states []state
	err := closely(func() (took int64, err error) {
		if states, err = ask(in, list); err != nil {
			return 0, err
		}
		for _, s := range states {
			took = max(took, s.near.after-s.near.before, s.real.after-s.real.before)
		}
		return took, nil
	})
	if err != nil {
		return err
	}
	for i, s := range states {
		e := list[i].entry()
		e.Overrun = proto.Uint32(uint32(max(s.overrun, 0)))
		if s.value > 0 && list[i].clock.wall() {
			d, err := c.deadline(r, e, s)
			if err != nil {
				return err
			}
			r.due[list[i].id], r.inPeriod[list[i].id] = d, s.value <= s.interval
			s.value = c.sinceFreeze(d)
		} else if list[i].clock.wall() {
			if err := r.ask(list[i].id, Timer{Clock: int32(list[i].clock)}.Timeline()); err != nil {
				return err
			}
		}
		e.Isec, e.Insec = proto.Uint64(uint64(s.interval/nanosPerSecond)), proto.Uint64(uint64(s.interval%nanosPerSecond))
		e.Vsec, e.Vnsec = proto.Uint64(uint64(s.value/nanosPerSecond)), proto.Uint64(uint64(s.value%nanosPerSecond))
		r.timers.Posix = append(r.timers.Posix, e)
	}
	return nil
}

// ask has a process read its timers, each between readings of its clocks. (A
// timer on CPU time has MONOTONIC about it, which nobody looks at.)
func ask(in caller, list []posix) ([]state, error) {
	type places struct {
		span                                         at
		nearBefore, nearAfter, realBefore, realAfter at
		overrun                                      int
	}
	var b batch
	all := make([]places, len(list))
	for i, t := range list {
		p := &all[i]
		p.span, p.nearBefore, p.nearAfter = b.room(spanSize), b.room(timeSize), b.room(timeSize)
		p.realBefore, p.realAfter = b.room(timeSize), b.room(timeSize)
		clock := int(Timer{Clock: int32(t.clock)}.Timeline())
		if t.clock == unix.CLOCK_REALTIME {
			b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, p.realBefore)
		}
		b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, clock, p.nearBefore)
		b.call(fmt.Sprintf("timer_gettime of timer %d", t.id), unix.SYS_TIMER_GETTIME, t.id, p.span)
		b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, clock, p.nearAfter)
		if t.clock == unix.CLOCK_REALTIME {
			b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, p.realAfter)
		}
		p.overrun = len(b.calls)
		b.call(fmt.Sprintf("timer_getoverrun of timer %d", t.id), unix.SYS_TIMER_GETOVERRUN, t.id)
	}
	if err := b.run(in); err != nil {
		return nil, err
	}
	states := make([]state, len(list))
	for i, p := range all {
		clock := func(place at) int64 { return decodeTime(b.get(place), nanosPerSecond) }
		states[i] = state{
			span:    decodeSpan(b.get(p.span), nanosPerSecond),
			overrun: b.calls[p.overrun].Ret,
			near:    bracket{clock(p.nearBefore), clock(p.nearAfter)},
			real:    bracket{clock(p.realBefore), clock(p.realAfter)},
		}
	}
	return states, nil
}

// entry is a timer without its times as the images have it.
func (t posix) entry() *timer.PosixTimerEntry {
	e := &timer.PosixTimerEntry{
		ItId: proto.Uint32(uint32(t.id)), ClockId: proto.Uint32(uint32(t.clock)),
		SiSigno: proto.Uint32(uint32(t.signal)), ItSigevNotify: proto.Uint32(uint32(t.notify)),
		SivalPtr: proto.Uint64(t.value),
	}
	if t.notify == notifyThreadID {
		e.NotifyThreadId = proto.Int32(t.thread)
	}
	return e
}

// posixOf is the opposite of entry.
func posixOf(e *timer.PosixTimerEntry) posix {
	return posix{
		id: int32(e.GetItId()), clock: clockID(e.GetClockId()), signal: int32(e.GetSiSigno()),
		value: e.GetSivalPtr(), notify: int32(e.GetItSigevNotify()), thread: e.GetNotifyThreadId(),
	}
}

// deadline tells when a timer that runs is due, and notes in e if it was set to
// a point in time.
func (c *collector) deadline(r *reading, e *timer.PosixTimerEntry, s state) (deadline, error) {
	clock := int32(e.GetClockId())
	// One that notifies nobody is in no queue: the kernel works it out when asked.
	if clock == unix.CLOCK_REALTIME && e.GetItSigevNotify() != notifyNone {
		queued, err := c.onRealtime(add(s.value, s.real.before), add(s.value, s.real.after))
		if err != nil {
			return deadline{}, err
		}
		if queued {
			setAbsolute(e)
			return deadline{unix.CLOCK_REALTIME, add(s.value, s.real.after)}, nil
		}
	}
	ahead, err := r.ahead()
	if err != nil {
		return deadline{}, err
	}
	timeline := Timer{Clock: clock}.Timeline()
	return deadline{timeline, add(s.value, s.near.after-ahead.of(timeline))}, nil
}

// onRealtime reports whether a timer that is due between two points in time
// follows REALTIME. The kernel then has it in the queue of that clock; one that
// was set to a span is in the queue of MONOTONIC. A timer that is in no queue,
// since it has expired and its signal was not taken, counts as set to a span, and
// so does every timer while crtime is not root.
func (c *collector) onRealtime(first, last int64) (bool, error) {
	if c.queued == nil {
		var err error
		c.queued, err = readDeadlines()
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
			c.queued = deadlines{}
		case err != nil:
			return false, err
		}
	}
	return c.queued.between(first, last), nil
}
