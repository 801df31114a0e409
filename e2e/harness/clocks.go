// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Now reads this process's clocks, one after the other.
func Now() (Readings, error) {
	var r Readings
	for _, c := range []struct {
		id   int32
		into *int64
	}{
		{unix.CLOCK_MONOTONIC, &r.Monotonic},
		{unix.CLOCK_MONOTONIC_RAW, &r.MonotonicRaw},
		{unix.CLOCK_MONOTONIC_COARSE, &r.MonotonicCoarse},
		{unix.CLOCK_BOOTTIME, &r.Boottime},
		{unix.CLOCK_REALTIME, &r.Realtime},
	} {
		var ts unix.Timespec
		if err := unix.ClockGettime(c.id, &ts); err != nil {
			return r, fmt.Errorf("reading clock %d: %w", c.id, err)
		}
		*c.into = ts.Nano()
	}
	return r, nil
}
