// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// Put writes the timers into the core images of a set, which must be there.
//
// It takes out of them the signals of timers that were running at the freeze and have
// expired since, for the images have these timers as running: they fire when their
// processes go on, and would do so twice. waiting are the signals that waited at the
// freeze; nil: not known. They are told of the periods that have passed until then.
func (r *Reading) Put(s *criuimg.Set, waiting Waiting) error {
	for _, one := range r.processes {
		p := s.Process[uint32(one.pid)]
		if p == nil || p.Core.GetTc() == nil {
			return fmt.Errorf("the timers of process %d: the set has no image of its core yet", one.pid)
		}
		queues := queuesOf(p)
		if waiting != nil {
			one.rewind(r.frozen, waiting[one.pid], signalled(queues))
		}
		expired, err := one.expired()
		if err != nil {
			return err
		}
		p.Core.Tc.Timers = one.timers
		for _, q := range queues {
			withdraw(q, expired)
			countPeriods(q, waiting[one.pid])
		}
	}
	return nil
}

// queuesOf are the queues of a process and of its threads.
func queuesOf(p *criuimg.Process) []*siginfo.SignalQueueEntry {
	queues := []*siginfo.SignalQueueEntry{p.Core.Tc.SignalsS, p.Core.GetThreadCore().GetSignalsP()}
	for _, core := range p.Threads {
		queues = append(queues, core.GetThreadCore().GetSignalsP())
	}
	return queues
}

// slack is by how much a deadline may have been taken to be later than it is.
// Should a timer that will expire that soon have had a signal waiting already, it
// sends another one all the same.
const slack = 1_000_000 // Nanoseconds.

// expired are the timers that have come due since they were read.
func (r *reading) expired() (map[int32]bool, error) {
	ids := map[int32]bool{}
	for id, d := range r.due {
		read, err := now(d.timeline)
		if err != nil {
			return nil, err
		}
		if d.at <= add(read, slack) {
			ids[id] = true
		}
	}
	return ids, nil
}

// withdraw takes the signals of some timers out of a queue.
func withdraw(q *siginfo.SignalQueueEntry, of map[int32]bool) {
	if q == nil || len(of) == 0 {
		return
	}
	q.Signals = slices.DeleteFunc(q.Signals, func(e *siginfo.SiginfoEntry) bool {
		id, ok := timerOfSignal(e.GetSiginfo())
		return ok && of[id]
	})
}

// countPeriods notes in the signals of timers how many periods have passed since.
func countPeriods(q *siginfo.SignalQueueEntry, waiting map[int32]Wait) {
	for _, e := range q.GetSignals() {
		if id, ok := timerOfSignal(e.GetSiginfo()); ok && waiting[id].Periods > 0 {
			binary.LittleEndian.PutUint32(e.Siginfo[siginfoOverrun:], uint32(min(waiting[id].Periods, maxInt)))
		}
	}
}

// timerOfSignal tells which timer sent a signal.
func timerOfSignal(info []byte) (id int32, ok bool) {
	if len(info) < siginfoSize {
		return 0, false
	}
	field := func(at int) int32 { return int32(binary.LittleEndian.Uint32(info[at:])) }
	switch {
	case field(siginfoCode) == siTimer:
		return field(siginfoTimer), true
	case field(siginfoCode) == siKernel && unix.Signal(field(0)) == unix.SIGALRM:
		return IntervalTimer, true
	default:
		return 0, false
	}
}
