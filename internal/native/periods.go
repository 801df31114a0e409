// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"

	"go.uber.org/zap"

	"github.com/crtime/crtime/internal/native/waits"
)

// countPeriods finds out how many periods of timers had passed, at the freeze, since
// they sent a signal that has waited ever since. Where the kernel cannot be asked that
// is lost, as it has ever been.
func (d *dump) countPeriods() {
	all, err := waits.ReadExpired(d.living())
	if err != nil {
		level := zap.WarnLevel
		if errors.Is(err, waits.ErrUnavailable) {
			level = zap.DebugLevel
		}
		d.sleeps.log.Log(level, "signals of timers that wait say nothing of the periods that have passed", zap.Error(err))
	}
	for _, e := range all {
		ids := d.waiting[e.PID]
		if _, waits := ids[e.ID]; waits {
			ids[e.ID] = periods(e, d.sleeps.frozen)
		}
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
