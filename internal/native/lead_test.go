// SPDX-License-Identifier: Apache-2.0

package native

import (
	"testing"
	"time"

	"github.com/crtime/crtime/clockstate"
)

func TestAtPace(t *testing.T) {
	for _, tt := range []struct {
		pace time.Duration
		want clockstate.Nanos
	}{
		{0, 1_000_000},
		{usualPace / 2, 1_000_000},
		{usualPace, 1_000_000},
		{usualPace * 3 / 2, 1_500_000},
		{time.Hour, slowest * 1_000_000},
	} {
		if got := atPace(time.Millisecond, tt.pace); got != tt.want {
			t.Errorf("pace %v: got %v, want %v", tt.pace, got, tt.want)
		}
	}
}
