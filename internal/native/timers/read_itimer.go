// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// microsPerSecond is in how many parts interval timers divide a second.
const microsPerSecond = 1_000_000

// itimers reads the three interval timers of a process. All of its threads have
// them in common.
func (c *collector) itimers(r *reading, in caller) error {
	var found [3]span
	var seen int64
	err := closely(func() (int64, error) {
		var b batch
		// CPU time passes with every call, so their timers come first.
		var places [3]at
		for which, name := range []string{"getitimer ITIMER_REAL", "getitimer ITIMER_VIRTUAL", "getitimer ITIMER_PROF"} {
			places[which] = b.room(spanSize)
			if which != itimerReal {
				b.call(name, unix.SYS_GETITIMER, which, places[which])
			}
		}
		before, after := b.room(timeSize), b.room(timeSize)
		b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, before)
		b.call("getitimer ITIMER_REAL", unix.SYS_GETITIMER, itimerReal, places[itimerReal])
		b.call("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, after)
		if err := b.run(in); err != nil {
			return 0, err
		}
		for which := range found {
			found[which] = decodeSpan(b.get(places[which]), microsPerSecond)
		}
		seen = decodeTime(b.get(after), nanosPerSecond)
		return seen - decodeTime(b.get(before), nanosPerSecond), nil
	})
	if err != nil {
		return err
	}
	if left := found[itimerReal].value; left > 0 {
		ahead, err := r.ahead()
		if err != nil {
			return err
		}
		// The kernel leaves out the part below a microsecond.
		d := deadline{unix.CLOCK_MONOTONIC, add(left*nanosPerMicro+nanosPerMicro-1, seen-ahead.of(unix.CLOCK_MONOTONIC))}
		r.due[IntervalTimer] = d
		found[itimerReal].value = ceilMicros(c.sinceFreeze(d))
	} else if err := r.ask(IntervalTimer, unix.CLOCK_MONOTONIC); err != nil {
		return err
	}
	r.timers.Real = itimerEntry(found[itimerReal])
	r.timers.Virt = itimerEntry(found[itimerVirtual])
	r.timers.Prof = itimerEntry(found[itimerProf])
	return nil
}

// itimerEntry is a span in microseconds as the images have it.
func itimerEntry(s span) *timer.ItimerEntry {
	return &timer.ItimerEntry{
		Isec: proto.Uint64(uint64(s.interval / microsPerSecond)), Iusec: proto.Uint64(uint64(s.interval % microsPerSecond)),
		Vsec: proto.Uint64(uint64(s.value / microsPerSecond)), Vusec: proto.Uint64(uint64(s.value % microsPerSecond)),
	}
}

// closely has something read again if what stands around it says that it took
// long: the thread was interrupted then, and the times do not belong together.
// read returns how long that was. The last answer counts, good or bad.
func closely(read func() (int64, error)) error {
	const tries, soon = 3, 20_000 // Nanoseconds.
	for range tries {
		took, err := read()
		if err != nil || took <= soon {
			return err
		}
	}
	return nil
}
