// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"fmt"
	"math"
	"time"
)

const nanosPerSecond = 1_000_000_000

// MaxReading is the largest value that the kernel lets a clock have in a time
// namespace when an offset is written: KTIME_SEC_MAX/2 seconds, about 146
// years. The smallest is 0.
const MaxReading Nanos = 4_611_686_018 * nanosPerSecond

// Nanos is a reading of a clock, or the difference between two, in nanoseconds.
// It covers 292 years in either direction. Use [Add] and [Sub] wherever a value
// did not come from this package: they notice an overflow.
type Nanos int64

// Add returns a + b, or an error wrapping [ErrOverflow].
func Add(a, b Nanos) (Nanos, error) {
	sum := a + b
	if (b > 0 && sum < a) || (b < 0 && sum > a) {
		return 0, fmt.Errorf("%w: %d ns + %d ns", ErrOverflow, int64(a), int64(b))
	}
	return sum, nil
}

// Sub returns a - b, or an error wrapping [ErrOverflow].
func Sub(a, b Nanos) (Nanos, error) {
	diff := a - b
	if (b > 0 && diff > a) || (b < 0 && diff < a) {
		return 0, fmt.Errorf("%w: %d ns - %d ns", ErrOverflow, int64(a), int64(b))
	}
	return diff, nil
}

// FromTimespec converts a kernel timespec. nsec always counts upward and must
// be at least 0 and less than 1e9, otherwise the error wraps [ErrOutOfRange].
// An instant too far from 0 for Nanos gives an error wrapping [ErrOverflow].
func FromTimespec(sec, nsec int64) (Nanos, error) {
	if nsec < 0 || nsec >= nanosPerSecond {
		return 0, fmt.Errorf("%w: %d nanoseconds in a timespec, want 0 to 999999999", ErrOutOfRange, nsec)
	}
	// A negative time is built from the second above it, because the lowest
	// whole second below the smallest Nanos is itself not representable.
	if sec < 0 {
		sec++
		nsec -= nanosPerSecond
	}
	const limit = math.MaxInt64 / nanosPerSecond
	if sec > limit || sec < -limit {
		return 0, fmt.Errorf("%w: %d seconds", ErrOverflow, sec)
	}
	return Add(Nanos(sec*nanosPerSecond), Nanos(nsec))
}

// Timespec splits n into seconds and nanoseconds as the kernel's
// timens_offsets file wants them: seconds rounded down, and 0 <= nsec < 1e9
// counted upward from there. -1 ns is therefore -1 s and 999999999 ns.
func (n Nanos) Timespec() (sec, nsec int64) {
	sec, nsec = int64(n)/nanosPerSecond, int64(n)%nanosPerSecond
	if nsec < 0 {
		sec--
		nsec += nanosPerSecond
	}
	return sec, nsec
}

// Seconds returns the whole seconds of n, rounded down.
func (n Nanos) Seconds() int64 {
	sec, _ := n.Timespec()
	return sec
}

// String returns n exactly, in hours, minutes and seconds, for instance
// "1h2m3.000000004s"; below a second in "ms", "µs" or "ns".
func (n Nanos) String() string {
	// A Duration counts the same nanoseconds and prints without rounding.
	return time.Duration(n).String()
}
