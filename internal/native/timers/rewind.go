// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Waiting are the timers of each process whose signals waited for delivery, by number
// or IntervalTimer, each with what is known of that.
type Waiting map[int]map[int32]Wait

// Wait is what is known of a timer whose signal waited at the freeze.
type Wait struct {
	// Asked says that the rest is known. Otherwise a timer stands if it has no more left
	// than a period.
	Asked bool
	// Stands says that the timer stands still until its signal is taken. It does not if
	// it was set anew meanwhile.
	Stands bool
	// Periods is how many had passed at the freeze since it sent its signal.
	Periods int64
}

// LookAtSignals looks at the queues of a tree that stands still, right before the
// instant of the freeze is read: a timer that expires later counts as expired after the
// freeze. What has ended meanwhile is left out.
func LookAtSignals(processes []*ptrace.Process) (Waiting, error) {
	all := Waiting{}
	for _, p := range processes {
		ids := map[int32]Wait{}
		all[p.PID] = ids
		for i, th := range p.Threads {
			for _, shared := range []bool{true, false} {
				if shared && i > 0 {
					continue
				}
				queue, err := th.Pending(shared)
				if errors.Is(err, ptrace.ErrGone) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("look at the signals of thread %d: %w", th.TID, err)
				}
				for _, info := range queue {
					if id, ok := timerOfSignal(info[:]); ok {
						ids[id] = Wait{}
					}
				}
			}
		}
	}
	return all, nil
}

// Repeating yields the timers that wait of which the kernel can be asked whether they
// stand: those with a period, on clocks that go on and wake no machine.
func (r *Reading) Repeating(waiting Waiting, yield func(pid int, id int32)) {
	for _, one := range r.processes {
		for _, e := range one.timers.Posix {
			_, interval := posixTimes(e)
			clock := clockID(e.GetClockId())
			if _, waits := waiting[one.pid][int32(e.GetItId())]; waits && interval > 0 && clock.wall() && !clock.alarm() {
				yield(one.pid, int32(e.GetItId()))
			}
		}
	}
}

// signalled are the timers whose signals are in some queues.
func signalled(queues []*siginfo.SignalQueueEntry) map[int32]bool {
	ids := map[int32]bool{}
	for _, q := range queues {
		for _, e := range q.GetSignals() {
			if id, ok := timerOfSignal(e.GetSiginfo()); ok {
				ids[id] = true
			}
		}
	}
	return ids
}

// ask notes when a timer was read that had nothing left.
func (r *reading) ask(id, timeline int32) error {
	read, err := now(timeline)
	r.asked[id] = deadline{timeline, read}
	return err
}

// rewind takes back what timers have done since the freeze. One with a period gets its
// first expiry after the freeze, also if it stood still then for its signal to be taken.
// When one without a period has expired, or an interval timer, whose period begins only
// when its signal is taken, cannot be seen any more: such a one is due when it was read,
// which is later than it was by less than the tree had stood until then. waiting are those
// whose signals waited at the freeze already, signalled those whose signals wait now.
//
// If a period is shorter than the tree had stood when it was read, and the timer has
// expired for the first time since the freeze, after a longer wait, nothing tells how
// often: it is taken to have been at it for long.
func (r *reading) rewind(frozen func(id int32) int64, waiting map[int32]Wait, signalled map[int32]bool) {
	for _, e := range r.timers.Posix {
		id := int32(e.GetItId())
		wait, waits := waiting[id]
		_, interval := posixTimes(e)
		due, runs := r.due[id]
		switch {
		case waits:
			// Its signal is from before the freeze, and stays.
			delete(r.due, id)
			if !runs || interval == 0 || !wait.stands(r.inPeriod[id]) {
				continue
			}
			setStanding(e)
			due.at = firstAfter(frozen(due.timeline), due.at, interval)
		case !signalled[id]:
			continue
		case runs && interval > 0:
			due.at = firstAfter(frozen(due.timeline), due.at, interval)
			r.due[id] = due
		case runs || !clockID(e.GetClockId()).wall():
			continue // It was set anew, or counts CPU time.
		default:
			due = r.asked[id]
			r.due[id] = due
		}
		left := max(sub(due.at, frozen(due.timeline)), 1)
		e.Vsec, e.Vnsec = proto.Uint64(uint64(left/nanosPerSecond)), proto.Uint64(uint64(left%nanosPerSecond))
	}
	_, runs := r.due[IntervalTimer]
	_, waits := waiting[IntervalTimer]
	if !runs && !waits && signalled[IntervalTimer] {
		due := r.asked[IntervalTimer]
		r.due[IntervalTimer] = due
		interval := r.timers.Real
		r.timers.Real = itimerEntry(span{value: ceilMicros(max(sub(due.at, frozen(due.timeline)), 1))})
		r.timers.Real.Isec, r.timers.Real.Iusec = interval.Isec, interval.Iusec
	}
}

// stands reports whether the timer stands still for its signal to be taken; guess is for
// where that is not known.
func (w Wait) stands(guess bool) bool {
	if w.Asked {
		return w.Stands
	}
	return guess
}

// firstAfter is the first expiry after an instant of a timer that has expired since
// then, is due at next, and was every interval before.
func firstAfter(instant, next, interval int64) int64 {
	since := sub(next, instant)
	if since <= interval {
		return next
	}
	return next - (since-1)/interval*interval
}
