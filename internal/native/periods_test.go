// SPDX-License-Identifier: Apache-2.0

package native

import (
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/waits"
)

// TestPeriods asks for the same timer as it expired, and after somebody has had the
// kernel count the periods until some moment, before the freeze or after it.
func TestPeriods(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expired := rapid.Int64Range(1, 1e18).Draw(t, "expired")
		interval := rapid.Int64Range(1, 1e12).Draw(t, "interval")
		frozen := expired + rapid.Int64Range(0, 1e15).Draw(t, "frozen")
		counted := rapid.Int64Range(0, 2*(frozen-expired)/interval+2).Draw(t, "counted")
		e := waits.Expired{
			At:       waits.Deadline{Clock: unix.CLOCK_BOOTTIME, At: expired + counted*interval},
			Interval: interval, Overrun: counted,
		}
		at := instant{unix.CLOCK_BOOTTIME: frozen}
		if got, want := periods(e, at), (frozen-expired)/interval; got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}
