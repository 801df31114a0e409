// SPDX-License-Identifier: Apache-2.0

package clocklog

import "time"

// Clock names a clock that the programs read. The order is that of the C
// ticker's board.
type Clock int

// The clocks of a record.
const (
	Realtime Clock = iota
	Monotonic
	MonotonicRaw
	MonotonicCoarse
	Boottime

	clockCount = int(Boottime) + 1
)

// Shifted lists the clocks that a time namespace moves, the ones for which
// crtime promises that they never go back.
func Shifted() []Clock {
	return []Clock{Monotonic, MonotonicRaw, MonotonicCoarse, Boottime}
}

// String returns the kernel's name of the clock.
func (c Clock) String() string {
	names := [clockCount]string{
		"CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW",
		"CLOCK_MONOTONIC_COARSE", "CLOCK_BOOTTIME",
	}
	if c < 0 || int(c) >= clockCount {
		return "unknown clock"
	}
	return names[c]
}

// Record is one turn of a program's loop.
type Record struct {
	// Seq is the number that the program gave it.
	Seq int64
	// At holds the clocks in nanoseconds; At[Realtime] was read first.
	At [clockCount]int64
	// Known tells which entries of At the program could read.
	Known [clockCount]bool
	// RealtimeEnd is CLOCK_REALTIME read last, in nanoseconds.
	RealtimeEnd int64
}

// Width is how long the program took to read the record, by the wall clock.
func (r Record) Width() time.Duration {
	return time.Duration(r.RealtimeEnd - r.At[Realtime])
}

// Step is what happened between two records.
type Step struct {
	Before, After Record
}

// Advance is how far a clock moved. It is 0 for a clock that the program
// cannot read.
func (s Step) Advance(c Clock) time.Duration {
	if !s.Before.Known[c] || !s.After.Known[c] {
		return 0
	}
	return time.Duration(s.After.At[c] - s.Before.At[c])
}

// Wall is how much time passed by the wall clock.
func (s Step) Wall() time.Duration {
	return time.Duration(s.After.At[Realtime] - s.Before.At[Realtime])
}

// BoottimeError is how far CLOCK_BOOTTIME is from having advanced as the wall
// clock did. It goes by the CLOCK_REALTIME that was read right after it.
func (s Step) BoottimeError() time.Duration {
	return s.Advance(Boottime) - time.Duration(s.After.RealtimeEnd-s.Before.RealtimeEnd)
}

// Uncertainty bounds how far any clock's Advance can differ from Wall only
// because the clocks of a record are not read at one instant.
func (s Step) Uncertainty() time.Duration {
	return max(s.Before.Width(), 0) + max(s.After.Width(), 0)
}
