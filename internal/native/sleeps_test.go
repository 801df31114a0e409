// SPDX-License-Identifier: Apache-2.0

package native

import (
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/waits"
)

// TestRest says which of what is known of a sleeping thread counts.
func TestRest(t *testing.T) {
	const begun, frozen, whole = 1000, 1010, 500
	at := func(at int64) waits.Deadline { return waits.Deadline{Clock: unix.CLOCK_MONOTONIC, At: at} }
	slept := waits.Thread{Switches: 7, Timer: at(1200)}
	rest := func(left, fuzz int64) tasks.Rest {
		return tasks.Rest{Clock: unix.CLOCK_MONOTONIC, Left: left, Fuzz: fuzz}
	}
	tests := []struct {
		name            string
		unasked         bool // The kernel could not be asked.
		early           bool // The dump has failed before the clocks were read.
		before, stopped waits.Thread
		limit           tasks.Limit
		whole           int64
		want            tasks.Rest // The zero value: nobody can tell.
	}{
		{name: "slept on", before: slept, stopped: waits.Thread{Switches: 8}, limit: tasks.TimerLimit, want: rest(190, 0)},
		{name: "slept on, with slack", before: slept, stopped: waits.Thread{Switches: 8, Sleep: at(1250)}, limit: tasks.SleepLimit, want: rest(190, 0)},
		{name: "slept anew, and was stopped at once", before: slept, stopped: waits.Thread{Switches: 8, Sleep: at(1200 + 2*usualSlack)}, limit: tasks.SleepLimit, want: rest(190+2*usualSlack, 0)},
		{
			name: "waits anew, since the time before was over, and was stopped at once", before: waits.Thread{Switches: 7, Timer: at(1009)},
			stopped: waits.Thread{Switches: 8}, limit: tasks.TimerLimit, whole: whole, want: rest(whole, frozen-begun),
		},
		{name: "slept anew, kept", before: slept, stopped: waits.Thread{Switches: 9, Poll: at(1300)}, limit: tasks.PollLimit, want: rest(290, 0)},
		{name: "slept anew", before: slept, stopped: waits.Thread{Switches: 9}, limit: tasks.TimerLimit, whole: whole, want: rest(whole, frozen-begun)},
		{name: "slept anew, of no known limit", before: slept, stopped: waits.Thread{Switches: 9}, limit: tasks.TimerLimit},
		{name: "not asked", unasked: true, limit: tasks.TimerLimit, whole: whole, want: rest(whole, whole)},
		{name: "failed", early: true, before: slept, limit: tasks.TimerLimit, whole: whole},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sleeps{log: zap.NewNop(), begun: begun}
			if !tt.unasked {
				s.before, s.stopped = map[int]waits.Thread{1: tt.before}, map[int]waits.Thread{1: tt.stopped}
			}
			if !tt.early {
				s.frozen = hostInstant(clockstate.HostReading{Readings: clockstate.Readings{Monotonic: frozen}})
			}
			got, ok := s.rest(1, tt.limit, tt.whole)
			if got != tt.want || ok != (tt.want != tasks.Rest{}) {
				t.Errorf("got %+v, %v, want %+v", got, ok, tt.want)
			}
		})
	}
}
