// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"sync"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// Target is one process of a frozen tree that has not ended.
type Target struct {
	PID    int
	Remote *remote.Runner
}

// Reading is the timers of a tree as they were found.
type Reading struct {
	processes []reading
	frozen    func(id int32) int64
}

// reading is the timers of one process.
type reading struct {
	pid    int
	timers *timer.TaskTimersEntry
	// Of those that run on a clock that goes on: when each is due on its timeline
	// as crtime reads it, in nanoseconds. By number, or IntervalTimer.
	due map[int32]deadline
	// asked is when those were read that had nothing left, on their timelines.
	asked map[int32]deadline
	// inPeriod are those that had no more left than their period when they were read.
	inPeriod map[int32]bool
	// ahead is how far the process's clocks are ahead of crtime's. Most processes
	// have no timer that asks for it.
	ahead func() (shift, error)
}

// deadline is a point in time on a clock of crtime's.
type deadline struct {
	timeline int32
	at       int64
}

// Collect is Read and then Put, for a caller that has read the pending signals
// already and accepts what Read says of that.
func Collect(targets []Target, s *criuimg.Set, clock func(id int32) int64) error {
	r, err := Read(targets, clock)
	if err != nil {
		return err
	}
	return r.Put(s, nil)
}

// Read reads the timers of a frozen tree and changes none.
//
// clock tells what crtime's own clock (one that Timer.Timeline can be) read at
// the instant of the freeze, in nanoseconds; what is left of each timer is
// counted from there. A timer is taken to be due later than it is by the time
// between two neighbouring system calls, less than a microsecond if nothing comes
// between; an interval timer by up to two more, since the kernel speaks of whole
// ones.
//
// Timers go on while their processes stand still. Read should therefore come
// soon after the freeze, and before the pending signals are read: a timer that
// expires between the two is then in both, which Put puts right. The other way
// round it would be in neither, and its process would wait for ever. What expires
// between the freeze and Read is known by its signal, see LookAtSignals.
func Read(targets []Target, clock func(id int32) int64) (*Reading, error) {
	c := collector{frozen: clock, pids: make([]int, 0, len(targets))}
	for _, t := range targets {
		c.pids = append(c.pids, t.PID)
	}
	r := Reading{frozen: clock}
	for _, t := range targets {
		one, err := c.process(t.PID, t.Remote)
		if err != nil {
			return nil, fmt.Errorf("the timers of process %d: %w", t.PID, err)
		}
		r.processes = append(r.processes, one)
	}
	return &r, nil
}

// collector is what the processes of one dump have in common.
type collector struct {
	frozen func(id int32) int64
	pids   []int
	shifts shifts
	// queued are the deadlines on REALTIME, read when a timer asks for them.
	queued deadlines
}

// process reads the timers of one process.
func (c *collector) process(pid int, in caller) (reading, error) {
	list, err := readTimers(pid)
	if err != nil {
		return reading{}, err
	}
	if err := c.refuse(pid, list); err != nil {
		return reading{}, err
	}
	r := reading{pid: pid, timers: &timer.TaskTimersEntry{}, due: map[int32]deadline{}, asked: map[int32]deadline{}, inPeriod: map[int32]bool{}}
	r.ahead = sync.OnceValues(func() (shift, error) { return c.shifts.of(pid) })
	if err := c.itimers(&r, in); err != nil {
		return reading{}, err
	}
	for first := 0; first < len(list); first += mostTimers {
		part := list[first:min(first+mostTimers, len(list))]
		if err := c.posix(&r, in, part); err != nil {
			return reading{}, err
		}
	}
	return r, nil
}

// refuse is Survey's judgement on a process that stands still.
func (c *collector) refuse(pid int, list []posix) error {
	if len(list) == 0 {
		return nil
	}
	o, err := ownerOf(pid, c.pids)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range list {
		if why := o.objection(t); why != "" {
			errs = append(errs, fmt.Errorf("%w: POSIX timer %d: %s", engine.ErrUnsupported, t.id, why))
		}
	}
	return errors.Join(errs...)
}

// sinceFreeze makes of what is left now what was left at the freeze. at is when
// the timer is due on one of crtime's clocks.
func (c *collector) sinceFreeze(d deadline) int64 { return max(sub(d.at, c.frozen(d.timeline)), 1) }
