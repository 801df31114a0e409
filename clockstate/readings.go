// SPDX-License-Identifier: Apache-2.0

package clockstate

import "fmt"

// Readings are the values of the clocks that a time namespace shifts, in
// nanoseconds. CLOCK_BOOTTIME_ALARM always equals Boottime.
type Readings struct {
	Monotonic       Nanos `json:"monotonic_ns"`
	MonotonicRaw    Nanos `json:"monotonic_raw_ns"`
	MonotonicCoarse Nanos `json:"monotonic_coarse_ns"`
	Boottime        Nanos `json:"boottime_ns"`
}

// Offsets are what a time namespace adds to the clocks of the initial one.
// Monotonic counts for MONOTONIC, MONOTONIC_RAW and MONOTONIC_COARSE, Boottime
// for BOOTTIME and BOOTTIME_ALARM. The zero value is the initial namespace.
type Offsets struct {
	Monotonic Nanos `json:"monotonic_ns"`
	Boottime  Nanos `json:"boottime_ns"`
}

// Of returns the offset that shifts clock c; 0 for one that is not shifted.
func (o Offsets) Of(c Clock) Nanos {
	switch {
	case !c.Shifted():
		return 0
	case c == Boottime || c == BoottimeAlarm:
		return o.Boottime
	default:
		return o.Monotonic
	}
}

// Of returns the reading of clock c, and false if it is not one of them.
func (r Readings) Of(c Clock) (Nanos, bool) {
	switch c {
	case Monotonic:
		return r.Monotonic, true
	case MonotonicRaw:
		return r.MonotonicRaw, true
	case MonotonicCoarse:
		return r.MonotonicCoarse, true
	case Boottime, BoottimeAlarm:
		return r.Boottime, true
	default:
		return 0, false
	}
}

// Shift returns what a process in a namespace with offsets o reads when the
// initial namespace reads r. The error names the clock and wraps [ErrOverflow].
func (r Readings) Shift(o Offsets) (Readings, error) {
	var out Readings
	for _, c := range readClocks() {
		value, _ := r.Of(c)
		sum, err := Add(value, o.Of(c))
		if err != nil {
			return Readings{}, fmt.Errorf("shift %v: %w", c, err)
		}
		out = out.with(c, sum)
	}
	return out, nil
}

// readClocks lists the clocks that Readings holds, in its order.
func readClocks() []Clock {
	return []Clock{Monotonic, MonotonicRaw, MonotonicCoarse, Boottime}
}

// with returns r with the reading of clock c replaced.
func (r Readings) with(c Clock, n Nanos) Readings {
	switch c {
	case Monotonic:
		r.Monotonic = n
	case MonotonicRaw:
		r.MonotonicRaw = n
	case MonotonicCoarse:
		r.MonotonicCoarse = n
	case Boottime, BoottimeAlarm:
		r.Boottime = n
	case Realtime, TAI:
		// Not shifted, and therefore not among the readings.
	}
	return r
}

// checkRange refuses readings that no clock of the kernel can have.
func (r Readings) checkRange() error {
	for _, c := range readClocks() {
		if n, _ := r.Of(c); n < 0 || n > MaxReading {
			return fmt.Errorf("%w: %v reads %v, want 0s to %v", ErrOutOfRange, c, n, MaxReading)
		}
	}
	return nil
}

// WallClock is what adjtimex(2) says of the kernel's wall clock.
type WallClock struct {
	// Known is false if the kernel was not asked or did not answer.
	Known bool `json:"known"`
	// Synchronised is false while nothing (NTP, PTP) disciplines the clock.
	Synchronised bool `json:"synchronised"`
	// MaxError bounds the error of REALTIME if Synchronised.
	MaxError Nanos `json:"max_error_ns"`
	// EstError is the discipline's own estimate of the error.
	EstError Nanos `json:"est_error_ns"`
	// TAIOffset is TAI - REALTIME in whole seconds; 0 means that nobody set it.
	TAIOffset int32 `json:"tai_offset_s"`
}

// Tick says when CLOCK_MONOTONIC_COARSE is updated. The zero value is unknown;
// a Period alone, with Edge and Lag 0, says how far apart the updates are but
// not when.
type Tick struct {
	// Edge is the host's MONOTONIC at one of the updates.
	Edge Nanos `json:"edge_ns"`
	// Period is the time between two updates.
	Period Nanos `json:"period_ns"`
	// Lag is how far COARSE stays behind MONOTONIC right after an update. It
	// is the least that COARSE ever lags; the most is Lag + Period.
	Lag Nanos `json:"lag_ns"`
}

// HostReading is one look at all clocks of a host, as the initial time
// namespace has them.
type HostReading struct {
	Readings
	// Realtime is CLOCK_REALTIME since 1970; 0 means that it was not read.
	Realtime Nanos `json:"realtime_ns"`
	// TAI is CLOCK_TAI.
	TAI Nanos `json:"tai_ns"`
	// Width says how well the values belong together: all of them were true
	// at instants within Width of each other. It is at most a minute.
	Width     Nanos     `json:"width_ns"`
	WallClock WallClock `json:"wall_clock"`
	Tick      Tick      `json:"tick"`
	// BootID is the kernel's random identity of this boot; "" is unknown.
	BootID string `json:"boot_id"`
}

// maxWidth is the widest reading that is of any use. A real one is below a
// microsecond.
const maxWidth = 60 * nanosPerSecond

// check refuses a reading that no kernel can have given.
func (h HostReading) check() error {
	if err := h.checkRange(); err != nil {
		return err
	}
	if h.Width > maxWidth {
		return fmt.Errorf("%w: the clocks were read %v apart, at most %v is of use: read them again", ErrInvalid, h.Width, Nanos(maxWidth))
	}
	if h.MonotonicCoarse > h.Monotonic+max(h.Width, 0) {
		return fmt.Errorf("%w: %v reads %v, more than %v with %v", ErrInvalid, MonotonicCoarse, h.MonotonicCoarse, Monotonic, h.Monotonic)
	}
	for _, f := range []struct {
		name  string
		value Nanos
	}{
		{"CLOCK_REALTIME", h.Realtime},
		{"width of the reading", h.Width},
		{"wall clock's maximum error", h.WallClock.MaxError},
		{"wall clock's estimated error", h.WallClock.EstError},
		{"tick's edge", h.Tick.Edge},
		{"tick's period", h.Tick.Period},
		{"tick's lag", h.Tick.Lag},
	} {
		if f.value < 0 {
			return fmt.Errorf("%w: %s is negative (%v)", ErrInvalid, f.name, f.value)
		}
	}
	return checkText("boot id", h.BootID)
}
