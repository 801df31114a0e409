// SPDX-License-Identifier: Apache-2.0

package native

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/tasks"
)

// instant is what clocks read at one moment, in nanoseconds: those on which timers
// run. They are crtime's own unless something else is said.
type instant map[int32]int64

// ownInstant is a reading of the host's clocks as crtime's own read, which may live
// in a time namespace with the offsets own.
func ownInstant(host clockstate.HostReading, own clockstate.Offsets) instant {
	i := hostInstant(host)
	i[unix.CLOCK_MONOTONIC] += int64(own.Monotonic)
	i[unix.CLOCK_BOOTTIME] += int64(own.Boottime)
	return i
}

// hostInstant is the same by the host's own clocks.
func hostInstant(host clockstate.HostReading) instant {
	return instant{
		unix.CLOCK_MONOTONIC: int64(host.Monotonic),
		unix.CLOCK_BOOTTIME:  int64(host.Boottime),
		unix.CLOCK_REALTIME:  int64(host.Realtime),
		unix.CLOCK_TAI:       int64(host.TAI),
	}
}

// of is what a clock read.
func (i instant) of(id int32) int64 { return i[id] }

// timelineShift says how far crtime's own clocks are ahead of what the clocks of
// a restored process will have read at the same moment, had they gone on from the
// freeze: a timer that has so much left at the freeze is due, on crtime's own
// clock, at what the process read then, plus what was left, plus the shift. It is the
// same for all processes of a time namespace.
type timelineShift struct {
	frozen instant // What the process read at the freeze.
	ahead  instant // Crtime's own clock minus the process's, from the restore on.
	// released is what crtime's own clocks read when the tree is released, as planned.
	released instant
	// theirs is how far the process's clocks are ahead of crtime's own.
	theirs clockstate.Offsets
}

// timelineShifts are those of a tree, by the recorded time namespaces.
type timelineShifts map[uint64]*timelineShift

// newTimelineShifts works them out for every namespace that a process lives in. The
// processes read the host's clocks plus the plan's offsets; crtime the host's plus
// own. set is for images of CRIU's, which measured what was left of the timers some
// time after the freeze; it read the clocks after that, so that counting from there
// makes them late rather than early.
func newTimelineShifts(s *clockstate.State, plan *clockstate.Plan, own clockstate.Offsets, set *criuimg.Set) (timelineShifts, error) {
	if _, err := s.Root(); err != nil {
		return nil, err
	}
	later := clockstate.Nanos(0)
	if read := set.TimeNS.GetMonotonic(); s.Engine != Name && read != nil {
		later = s.MeasuredLater(clockstate.Nanos(read.GetTvSec()*1e9 + read.GetTvNsec()))
	}
	released := instant{
		unix.CLOCK_MONOTONIC: int64(plan.Resume.Monotonic + own.Monotonic),
		unix.CLOCK_BOOTTIME:  int64(plan.Resume.Boottime + own.Boottime),
		unix.CLOCK_REALTIME:  int64(plan.ResumeRealtime),
		unix.CLOCK_TAI:       int64(plan.ResumeRealtime + plan.Dest.TAI - plan.Dest.Realtime),
	}
	realtime, tai := plan.FrozenWall()
	shifts := timelineShifts{}
	for _, p := range s.Processes {
		if shifts[p.Namespace] != nil {
			continue
		}
		planned, err := plan.Namespace(p.Namespace)
		if err != nil {
			return nil, err
		}
		ahead := clockstate.Offsets{
			Monotonic: planned.Offsets.Monotonic - own.Monotonic, Boottime: planned.Offsets.Boottime - own.Boottime,
		}
		shifts[p.Namespace] = &timelineShift{
			frozen: instant{
				unix.CLOCK_MONOTONIC: int64(p.Readings.Monotonic + later),
				unix.CLOCK_BOOTTIME:  int64(p.Readings.Boottime + later),
				unix.CLOCK_REALTIME:  int64(realtime + later),
				unix.CLOCK_TAI:       int64(tai + later),
			},
			ahead:    instant{unix.CLOCK_MONOTONIC: -int64(ahead.Monotonic), unix.CLOCK_BOOTTIME: -int64(ahead.Boottime)},
			released: released,
			theirs:   ahead,
		}
	}
	return shifts, nil
}

// due says when a timer that had so much left at the freeze fires, on crtime's own
// clock. What is so far away that no clock will ever read it stays at the end of
// time.
func (t *timelineShift) due(timeline int32, left int64) int64 {
	at, err := clockstate.Add(clockstate.Nanos(t.frozen[timeline]+t.ahead[timeline]), clockstate.Nanos(left))
	if err != nil {
		return int64(^uint64(0) >> 1)
	}
	return int64(at)
}

// left says how much is left of a wait, counted from now on.
func (t *timelineShift) left(r tasks.Rest) int64 {
	at := t.due(r.Clock, r.Left)
	var now unix.Timespec
	if err := unix.ClockGettime(r.Clock, &now); err != nil {
		return 0 // There is no such clock: images are checked for that.
	}
	return at - now.Nano()
}

// leftAtRelease is left when the tree is released: as planned, or later if that time
// is over.
func (t *timelineShift) leftAtRelease(r tasks.Rest) int64 {
	return min(t.left(r), t.due(r.Clock, r.Left)-t.released[r.Clock])
}

// overdue is how long ago the tree was to be released.
func (t *timelineShift) overdue() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano() - t.released[unix.CLOCK_MONOTONIC])
}
