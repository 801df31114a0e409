// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

const (
	// maxSeconds and maxNanos are together the largest time that the kernel
	// counts, KTIME_MAX.
	maxSeconds = (1<<63 - 1) / nanosPerSecond
	maxNanos   = (1<<63 - 1) % nanosPerSecond

	maxSignal = 64
	maxInt    = 1<<31 - 1

	// maxTimers is more than one process can have: each takes one of the pending
	// signals that its user may have, some ten thousands.
	maxTimers = 1 << 20
	// maxCounted is the largest number of a timer that is reached by making and
	// deleting timers until it is its turn, which takes about a microsecond each.
	maxCounted = 1 << 20
)

// Check reports whether the timers of s can be made on this machine. It is for
// before anything is made; s has come from criuimg.Load. The errors are
// criuimg.ErrDamaged and criuimg.ErrUnsupported, each a *criuimg.Error.
func Check(s *criuimg.Set) error {
	c := checker{s, map[clockID]error{}, canChooseIDs()}
	for _, pid := range s.PIDs() {
		p := s.Process[pid]
		if p == nil || p.Zombie() {
			continue
		}
		if err := c.process(pid, p); err != nil {
			return &criuimg.Error{File: fmt.Sprintf("core-%d.img", pid), Err: err}
		}
	}
	return nil
}

// checker is one Check.
type checker struct {
	set       *criuimg.Set
	clocks    map[clockID]error // What came of trying to make a timer on each.
	chooseIDs bool
}

func (c *checker) process(pid uint32, p *criuimg.Process) error {
	t := p.Core.GetTc().GetTimers()
	if t == nil {
		return fmt.Errorf("%w: its timers are missing; releases of CRIU before 1.3 kept them in files of their own", criuimg.ErrUnsupported)
	}
	for _, one := range []struct {
		name  string
		entry *timer.ItimerEntry
	}{{"ITIMER_REAL", t.GetReal()}, {"ITIMER_VIRTUAL", t.GetVirt()}, {"ITIMER_PROF", t.GetProf()}} {
		if err := checkItimer(one.entry); err != nil {
			return fmt.Errorf("%w: %s %w", criuimg.ErrDamaged, one.name, err)
		}
	}
	if n := len(t.GetPosix()); n > maxTimers {
		return fmt.Errorf("%w: %d POSIX timers", criuimg.ErrDamaged, n)
	}
	o := c.owner(pid, p)
	seen := make(map[uint32]bool, len(t.GetPosix()))
	for _, e := range t.GetPosix() {
		if seen[e.GetItId()] {
			return fmt.Errorf("%w: POSIX timer %d is there twice", criuimg.ErrDamaged, e.GetItId())
		}
		seen[e.GetItId()] = true
		if err := checkPosix(e); err != nil {
			return fmt.Errorf("%w: POSIX timer %d %w", criuimg.ErrDamaged, e.GetItId(), err)
		}
		if err := c.possible(o, posixOf(e)); err != nil {
			return fmt.Errorf("%w: POSIX timer %d: %w", criuimg.ErrUnsupported, e.GetItId(), err)
		}
	}
	return nil
}

// owner looks at a process that is to be rebuilt.
func (c *checker) owner(pid uint32, p *criuimg.Process) owner {
	o := owner{pid: int(pid), threads: map[int]bool{}, inTree: func(pid int) bool {
		return pid > 0 && c.set.Process[uint32(pid)] != nil
	}}
	for _, tid := range p.TIDs(pid) {
		o.threads[int(tid)] = true
	}
	return o
}

// possible says why a timer cannot be made here.
func (c *checker) possible(o owner, t posix) error {
	if why := o.objection(t); why != "" {
		return errors.New(why)
	}
	if !c.chooseIDs && t.id >= maxCounted {
		return errNumber
	}
	if !t.clock.wall() {
		return nil
	}
	err, tried := c.clocks[t.clock]
	if !tried {
		err = tryClock(t.clock)
		c.clocks[t.clock] = err
	}
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN): // The latter is about how many there are.
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it runs on %s, which wakes the machine: that needs CAP_WAKE_ALARM (%w)", t.clock, err)
	default:
		return fmt.Errorf("it runs on %s, which has no timers on this machine (%w); the alarm clocks need a real-time clock", t.clock, err)
	}
}

// errNumber says that a timer's number is out of reach.
var errNumber = fmt.Errorf("this kernel hands out the numbers of timers one after another, and this engine follows it up to %d; Linux 6.15 and later let it choose", maxCounted)

// checkItimer refuses what setitimer would not take.
func checkItimer(e *timer.ItimerEntry) error {
	if e == nil {
		return errors.New("is missing")
	}
	if err := checkTime(e.GetVsec(), e.GetVusec(), nanosPerMicro); err != nil {
		return err
	}
	return checkTime(e.GetIsec(), e.GetIusec(), nanosPerMicro)
}

// checkPosix refuses what the kernel would never have given out.
func checkPosix(e *timer.PosixTimerEntry) error {
	if e.GetItId() > maxInt {
		return errors.New("has a negative number")
	}
	signal := int32(e.GetSiSigno())
	if e.GetItSigevNotify() != notifyNone && (signal < 1 || signal > maxSignal) {
		return fmt.Errorf("sends signal %d, which does not exist", signal)
	}
	if e.GetOverrun() > maxInt {
		return fmt.Errorf("has an overrun count of %d", e.GetOverrun())
	}
	if err := checkTime(e.GetVsec(), e.GetVnsec(), 1); err != nil {
		return err
	}
	return checkTime(e.GetIsec(), e.GetInsec(), 1)
}

// checkTime refuses a time that is more than the kernel counts, or whose fraction
// is more than a second; unit is the fraction's unit in nanoseconds.
func checkTime(sec, fraction, unit uint64) error {
	if fraction >= nanosPerSecond/unit {
		return fmt.Errorf("has a time of %d s and %d units of %d ns, which are more than a second", sec, fraction, unit)
	}
	if sec > maxSeconds || sec == maxSeconds && fraction*unit > maxNanos {
		return fmt.Errorf("has a time of %d s, which is more than the kernel counts", sec)
	}
	return nil
}
