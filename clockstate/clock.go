// SPDX-License-Identifier: Apache-2.0

package clockstate

// Clock names a kernel clock. The zero value is CLOCK_MONOTONIC; the numbers
// are this package's own and not the kernel's clock ids.
type Clock uint8

// The clocks that crtime reads. The first five are shifted by a time namespace.
const (
	// Monotonic is CLOCK_MONOTONIC: time since boot without suspends, slewed.
	Monotonic Clock = iota
	// MonotonicRaw is CLOCK_MONOTONIC_RAW: like Monotonic, but never slewed.
	MonotonicRaw
	// MonotonicCoarse is CLOCK_MONOTONIC_COARSE: Monotonic as of the last tick.
	MonotonicCoarse
	// Boottime is CLOCK_BOOTTIME: like Monotonic, but counts suspends.
	Boottime
	// BoottimeAlarm is CLOCK_BOOTTIME_ALARM: it always equals Boottime.
	BoottimeAlarm
	// Realtime is CLOCK_REALTIME, the wall clock. No namespace shifts it.
	Realtime
	// TAI is CLOCK_TAI, the wall clock without leap seconds. No namespace shifts it.
	TAI
)

func clockNames() []string {
	return []string{
		"CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_MONOTONIC_COARSE",
		"CLOCK_BOOTTIME", "CLOCK_BOOTTIME_ALARM", "CLOCK_REALTIME", "CLOCK_TAI",
	}
}

// String returns the kernel's name of the clock, such as "CLOCK_MONOTONIC".
func (c Clock) String() string { return nameOf("Clock", clockNames(), int(c)) }

// MarshalText is String for a known clock and an error for any other.
func (c Clock) MarshalText() ([]byte, error) { return marshalName("clock", clockNames(), int(c)) }

// UnmarshalText reads what MarshalText wrote.
func (c *Clock) UnmarshalText(text []byte) error {
	clock, err := parseName[Clock]("clock", clockNames(), string(text))
	if err != nil {
		return err
	}
	*c = clock
	return nil
}

// Shifted reports whether a time namespace shifts the clock.
func (c Clock) Shifted() bool { return c <= BoottimeAlarm }
