// SPDX-License-Identifier: Apache-2.0

package timers

import "math"

const (
	nanosPerSecond = 1_000_000_000
	nanosPerMicro  = 1_000
)

// add is a + b, held to the ends of what an int64 counts.
func add(a, b int64) int64 {
	c := a + b
	switch {
	case a > 0 && b > 0 && c < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && c >= 0:
		return math.MinInt64
	default:
		return c
	}
}

// sub is a - b, held to the ends of what an int64 counts.
func sub(a, b int64) int64 {
	c := a - b
	switch {
	case a >= 0 && b < 0 && c < 0:
		return math.MaxInt64
	case a < 0 && b > 0 && c >= 0:
		return math.MinInt64
	default:
		return c
	}
}

// ceilMicros rounds a span that is not negative up to whole microseconds: a
// timer may be late by less than one, and never early.
func ceilMicros(ns int64) int64 {
	us := ns / nanosPerMicro
	if ns%nanosPerMicro != 0 {
		us++
	}
	return us
}

// representable is deadline if it is at least 1, otherwise the earliest later
// point that is and has the same phase. The kernel takes no negative points in
// time, and 0 means that the timer is to stop.
func representable(deadline, interval int64) int64 {
	switch {
	case deadline >= 1:
		return deadline
	case interval <= 0:
		return 1
	default:
		return interval + deadline%interval // The remainder is not positive.
	}
}

// setting is how a timer is set that takes spans alone.
type setting struct {
	value int64 // Nanoseconds until it fires next. At least 1.
	// fire: it was due, and its signal is to be sent beside; missed is how often
	// it would have fired since.
	fire   bool
	missed int64
}

// startAt tells how to set a timer that is due at deadline when its clock reads
// now.
func startAt(deadline, now, interval int64) setting {
	left := sub(deadline, now)
	switch {
	case left > 0:
		return setting{value: left}
	case interval <= 0:
		return setting{value: 1}
	}
	// Set to a span that is over it would fire at once, and then count its
	// periods from now. So it is set to the next of its own periods.
	late := sub(now, deadline)
	return setting{value: interval - late%interval, fire: true, missed: late / interval}
}
