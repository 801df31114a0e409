// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestMillis checks that nobody wakes too early, nor a millisecond too late.
func TestMillis(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		left := rapid.Int64().Draw(rt, "left")
		got := int64(millis(left))
		switch {
		case left <= 0:
			equal(t, "nothing is left", got, 0)
		case left > math.MaxInt32*nanosPerMilli:
			equal(t, "more than fits", got, math.MaxInt32)
		default:
			if late := got*nanosPerMilli - left; late < 0 || late >= nanosPerMilli {
				t.Errorf("%d ns became %d ms", left, got)
			}
		}
	})
}

func TestTimespec(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		left := rapid.Int64().Draw(rt, "left")
		b := timespec(left)
		sec, nsec := int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
		if nsec < 0 || nsec >= nanosPerSecond {
			t.Errorf("%d ns in %d ns", nsec, left)
		}
		equal(t, "time", sec*nanosPerSecond+nsec, max(left, 1))
	})
}
