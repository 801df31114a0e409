// SPDX-License-Identifier: Apache-2.0

package native

import (
	"go.uber.org/zap"

	"github.com/crtime/crtime/internal/native/timers"
	"github.com/crtime/crtime/internal/native/waits"
)

// askOfTimers finds out which timers with a period stood still at the freeze, because
// their signals waited, and how many periods had passed by then. Where the kernel cannot
// be asked that is a guess, and lost.
func (d *dump) askOfTimers(r *timers.Reading) {
	var list []waits.PosixTimer
	r.Repeating(d.waiting, func(pid int, id int32) {
		list = append(list, waits.PosixTimer{PID: int32(pid), ID: id})
	})
	if len(list) == 0 {
		return
	}
	answer, err := waits.ReadExpired(list)
	if err != nil {
		d.sleeps.log.Warn("signals of timers that wait say nothing of the periods that have passed", zap.Error(err))
		return
	}
	for _, t := range list {
		e, stands := answer[t]
		wait := timers.Wait{Asked: true, Stands: stands}
		if stands {
			wait.Periods = periods(e, d.sleeps.frozen)
		}
		d.waiting[int(t.PID)][t.ID] = wait
	}
}

// periods is how many had passed at an instant, by the host's clocks. The timer may have
// been asked for its time since: then At lies after it.
func periods(e waits.Expired, at instant) int64 {
	now, ok := at[e.At.Clock]
	if !ok {
		return e.Overrun
	}
	passed := (now - e.At.At) / e.Interval
	if now < e.At.At && (now-e.At.At)%e.Interval != 0 {
		passed--
	}
	return max(e.Overrun+passed, 0)
}
