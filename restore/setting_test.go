// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"testing"

	"github.com/crtime/crtime/clockstate"
)

// What CRIU does with the record gives the planned offsets, and never a smaller
// BOOTTIME - MONOTONIC than was recorded.
func TestRecord(t *testing.T) {
	const ms = clockstate.Nanos(1_000_000)
	for _, tt := range []struct {
		name     string
		offsets  clockstate.Offsets
		between  clockstate.Nanos // CRIU reads BOOTTIME so much after MONOTONIC.
		boottime clockstate.Nanos // The offset that comes out.
	}{
		{"an outage that BOOTTIME counts", clockstate.Offsets{Monotonic: -2000 * ms, Boottime: 0}, 0, 0},
		{"no time has passed", clockstate.Offsets{Monotonic: -2000 * ms, Boottime: -2000 * ms}, ms / 10, -2000*ms + criuBetween - ms/10},
		{"another boot", clockstate.Offsets{Monotonic: 9e15, Boottime: 9e15 + 5*ms}, 0, 9e15 + 5*ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := clockstate.HostReading{Readings: clockstate.Readings{Monotonic: 50_000 * ms, Boottime: 51_000 * ms}}
			planned := clockstate.PlannedNamespace{
				Offsets:  tt.offsets,
				Recorded: clockstate.Readings{Monotonic: 48_000 * ms, Boottime: 49_000 * ms},
			}
			mono, boot := record(host, planned)
			got := clockstate.Offsets{
				Monotonic: mono - (host.Monotonic + criuReads),
				Boottime:  boot - (host.Boottime + criuReads + tt.between),
			}
			if want := (clockstate.Offsets{Monotonic: tt.offsets.Monotonic, Boottime: tt.boottime}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
