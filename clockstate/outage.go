// SPDX-License-Identifier: Apache-2.0

package clockstate

import "fmt"

// OutageSource says how an outage was measured.
type OutageSource uint8

// The sources, the most exact first.
const (
	// OutageUnknown: there was nothing to measure it by.
	OutageUnknown OutageSource = iota
	// SameBoot: by the BOOTTIME of the boot on which the state was recorded.
	SameBoot
	// Link: by BOOTTIME on both hosts and the measured offset between them.
	Link
	// WallClockSource: by the wall clock on both hosts.
	WallClockSource
)

func outageSourceNames() []string { return []string{"unknown", "same-boot", "link", "wall-clock"} }

// String returns a word such as "same-boot".
func (o OutageSource) String() string { return nameOf("OutageSource", outageSourceNames(), int(o)) }

// MarshalText is String for a known source and an error for any other.
func (o OutageSource) MarshalText() ([]byte, error) {
	return marshalName("outage source", outageSourceNames(), int(o))
}

// UnmarshalText reads what MarshalText wrote.
func (o *OutageSource) UnmarshalText(text []byte) error {
	source, err := parseName[OutageSource]("outage source", outageSourceNames(), string(text))
	if err != nil {
		return err
	}
	*o = source
	return nil
}

// Outage is the real time that a tree missed.
type Outage struct {
	// Duration is the time that counts: Measured, but never negative.
	Duration Nanos `json:"duration_ns"`
	// Measured is what the clocks said. It is negative if the destination's
	// wall clock is behind the source's.
	Measured Nanos        `json:"measured_ns"`
	Source   OutageSource `json:"source"`
	// Error is how far Measured can be from the truth, if Bounded.
	Error Nanos `json:"error_ns"`
	// Bounded is false if nobody vouches for a clock that was used.
	Bounded bool `json:"bounded"`
	// Note says what a user should know of the measurement; "" is nothing.
	Note string `json:"note,omitempty"`
}

// LinkMeasurement relates the clocks of two hosts by round trips between them.
// It is good only for the two boots on which it was made.
type LinkMeasurement struct {
	// Offset is the destination's BOOTTIME minus the source's.
	Offset Nanos `json:"offset_ns"`
	// HalfRoundTrip is half of the round trip that gave Offset, and thereby
	// its greatest error.
	HalfRoundTrip Nanos `json:"half_round_trip_ns"`
}

// MeasureOutage returns the time between s's freeze reading and dest, by the
// best source there is: BOOTTIME if both were read on the same boot, else the
// link if it is not nil, else the wall clocks.
//
// It fails with [ErrFuture] if dest was read on the same boot but earlier,
// with [ErrNotRecorded] if one of the wall clocks is needed and was not read,
// and with [ErrOverflow] if the result does not fit.
func MeasureOutage(s *State, dest HostReading, link *LinkMeasurement) (Outage, error) {
	width, err := Add(s.Freeze.Width, dest.Width)
	if err != nil {
		return Outage{}, fmt.Errorf("widths of the clock readings: %w", err)
	}
	var out Outage
	switch {
	case s.Freeze.BootID != "" && s.Freeze.BootID == dest.BootID:
		out, err = sameBootOutage(s.Freeze, dest, width)
	case link != nil:
		out, err = linkOutage(s.Freeze, dest, *link)
	default:
		out, err = wallClockOutage(s.Freeze, dest)
		if err == nil && s.FreezeSource == FreezeImported {
			out.Note, out.Bounded, out.Error = importedNote, false, 0
		}
	}
	if err != nil {
		return Outage{}, fmt.Errorf("measure the outage: %w", err)
	}
	if out.Bounded {
		if out.Error, err = Add(out.Error, width); err != nil {
			return Outage{}, fmt.Errorf("error bound of the outage: %w", err)
		}
	}
	out.Duration = max(out.Measured, 0)
	return out, nil
}

func sameBootOutage(src, dest HostReading, width Nanos) (Outage, error) {
	measured, err := Sub(dest.Boottime, src.Boottime)
	if err != nil {
		return Outage{}, err
	}
	if measured < -width {
		return Outage{}, fmt.Errorf("%w: the freeze is at CLOCK_BOOTTIME %v and it is %v now: the clock image was altered, or BOOTTIME was read in a time namespace",
			ErrFuture, src.Boottime, dest.Boottime)
	}
	return Outage{Measured: measured, Source: SameBoot, Bounded: true}, nil
}

func linkOutage(src, dest HostReading, link LinkMeasurement) (Outage, error) {
	if link.HalfRoundTrip < 0 {
		return Outage{}, fmt.Errorf("%w: the link's round trip is negative (%v)", ErrInvalid, link.HalfRoundTrip)
	}
	sourceNow, err := Sub(dest.Boottime, link.Offset)
	if err != nil {
		return Outage{}, err
	}
	measured, err := Sub(sourceNow, src.Boottime)
	if err != nil {
		return Outage{}, err
	}
	return Outage{Measured: measured, Source: Link, Error: link.HalfRoundTrip, Bounded: true}, nil
}

func wallClockOutage(src, dest HostReading) (Outage, error) {
	if src.Realtime == 0 {
		return Outage{}, fmt.Errorf("%w: CLOCK_REALTIME at the freeze: use policy freeze or host, which do not need it", ErrNotRecorded)
	}
	if dest.Realtime == 0 {
		return Outage{}, fmt.Errorf("%w: CLOCK_REALTIME of this host was not read", ErrNotRecorded)
	}
	measured, err := Sub(dest.Realtime, src.Realtime)
	if err != nil {
		return Outage{}, err
	}
	out := Outage{Source: WallClockSource}
	if out.Measured, err = Add(measured, leapSeconds(src.WallClock, dest.WallClock)); err != nil {
		return Outage{}, err
	}
	out.Note = wallClockNote(src.WallClock, dest.WallClock)
	if out.Note != "" {
		return out, nil
	}
	out.Bounded = true
	out.Error, err = Add(src.WallClock.MaxError, dest.WallClock.MaxError)
	return out, err
}

// importedNote says where the moment of a CRIU dump is taken from. CRIU writes the
// image right after it has read the clocks, so the date of a file that was never
// copied is right to a few milliseconds; whether it was nobody can tell.
const importedNote = "that of the dump by the date of CRIU's image of the clocks: a copy that does not keep dates (cp without -p) makes the outage too short"

// leapSeconds returns how much REALTIME was held back by leap seconds between
// two readings. A kernel that nobody told its TAI offset has 0 there, and then
// nothing is known.
func leapSeconds(src, dest WallClock) Nanos {
	if src.TAIOffset == 0 || dest.TAIOffset == 0 {
		return 0
	}
	return Nanos(int64(dest.TAIOffset)-int64(src.TAIOffset)) * nanosPerSecond
}

// wallClockNote says whose wall clock nobody vouches for; "" if both are good.
func wallClockNote(src, dest WallClock) string {
	good := func(w WallClock) bool { return w.Known && w.Synchronised }
	const advice = ": the outage can be wrong by any amount; run a time service such as chrony or systemd-timesyncd"
	switch {
	case good(src) && good(dest):
		return ""
	case good(src):
		return "this host's wall clock is not synchronised" + advice
	case good(dest):
		return "the wall clock was not synchronised at the freeze" + advice
	default:
		return "the wall clock was synchronised neither at the freeze nor is it now" + advice
	}
}

// extendTo returns o for an instant that is later by that much.
func (o Outage) extendTo(later Nanos) (Outage, error) {
	measured, err := Add(o.Measured, later)
	if err != nil {
		return Outage{}, fmt.Errorf("outage until the resume instant: %w", err)
	}
	o.Measured, o.Duration = measured, max(measured, 0)
	return o, nil
}
