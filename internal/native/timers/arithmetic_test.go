// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"math"
	"math/big"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// number draws from all of int64, its ends and its middle more than the rest.
func number() *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Int64(),
		rapid.Int64Range(-1000, 1000),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1, math.MaxInt64}),
	)
}

// held is n, held to the ends of an int64.
func held(n *big.Int) int64 {
	switch {
	case n.IsInt64():
		return n.Int64()
	case n.Sign() < 0:
		return math.MinInt64
	default:
		return math.MaxInt64
	}
}

func TestAddSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := number().Draw(t, "a"), number().Draw(t, "b")
		if got, want := add(a, b), held(new(big.Int).Add(big.NewInt(a), big.NewInt(b))); got != want {
			t.Errorf("add(%d, %d) = %d, want %d", a, b, got, want)
		}
		if got, want := sub(a, b), held(new(big.Int).Sub(big.NewInt(a), big.NewInt(b))); got != want {
			t.Errorf("sub(%d, %d) = %d, want %d", a, b, got, want)
		}
	})
}

func TestCeilMicros(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, math.MaxInt64).Draw(t, "ns")
		us := new(big.Int).Mul(big.NewInt(ceilMicros(ns)), big.NewInt(nanosPerMicro))
		over := us.Sub(us, big.NewInt(ns)).Int64()
		if over < 0 || over >= nanosPerMicro {
			t.Errorf("ceilMicros(%d) is %d ns more", ns, over)
		}
	})
}

// TestStartAt checks the promises of a timer that is armed with a span: it fires
// when it is due or at once, never early, keeps its phase, and counts what it
// missed.
func TestStartAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Int64Range(-1<<61, 1<<61).Draw(t, "now")
		late := rapid.Int64Range(-1<<61, 1<<61).Draw(t, "late")
		interval := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 1000), rapid.Int64Range(1, math.MaxInt64)).Draw(t, "interval")
		deadline := now - late
		s := startAt(deadline, now, interval)
		switch {
		case s.value < 1:
			t.Errorf("%+v: a value that stops the timer", s)
		case late < 0:
			if s != (setting{value: -late}) {
				t.Errorf("due in %d: %+v", -late, s)
			}
		case interval == 0:
			if s != (setting{value: 1}) {
				t.Errorf("past due, once: %+v", s)
			}
		default:
			// Fired at deadline + k*interval for k in 0..missed, the next is k+1.
			next := new(big.Int).Mul(big.NewInt(s.missed+1), big.NewInt(interval))
			next.Add(next, big.NewInt(deadline))
			if want := new(big.Int).Add(big.NewInt(now), big.NewInt(s.value)); next.Cmp(want) != 0 || !s.fire {
				t.Errorf("late by %d of period %d: %+v, next is due %v and fires %v", late, interval, s, next, want)
			}
			if s.value > interval {
				t.Errorf("%+v: a period of %d is left out", s, interval)
			}
		}
	})
}

// TestStartAtEnds checks numbers that cannot be subtracted.
func TestStartAtEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deadline, now := number().Draw(t, "deadline"), number().Draw(t, "now")
		interval := rapid.Int64Range(0, math.MaxInt64).Draw(t, "interval")
		s := startAt(deadline, now, interval)
		if s.value < 1 || s.missed < 0 || s.fire != (deadline <= now && interval > 0) {
			t.Errorf("startAt(%d, %d, %d) = %+v", deadline, now, interval, s)
		}
	})
}

func TestRepresentable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deadline := number().Draw(t, "deadline")
		interval := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 1000), rapid.Int64Range(1, math.MaxInt64)).Draw(t, "interval")
		got := representable(deadline, interval)
		switch {
		case deadline >= 1:
			if got != deadline {
				t.Errorf("representable(%d, %d) = %d", deadline, interval, got)
			}
		case interval == 0:
			if got != 1 {
				t.Errorf("representable(%d, 0) = %d", deadline, got)
			}
		default:
			moved := new(big.Int).Sub(big.NewInt(got), big.NewInt(deadline))
			if got < 1 || got > interval || new(big.Int).Mod(moved, big.NewInt(interval)).Sign() != 0 {
				t.Errorf("representable(%d, %d) = %d", deadline, interval, got)
			}
		}
	})
}

func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := span{rapid.Int64Range(0, math.MaxInt64).Draw(t, "interval"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "value")}
		for _, unit := range []int64{nanosPerSecond, microsPerSecond} {
			b := s.encode(unit)
			if got := decodeSpan(b, unit); got != s || len(b) != spanSize {
				t.Errorf("%+v became %+v", s, got)
			}
		}
	})
}

func TestTimeline(t *testing.T) {
	for _, one := range []struct {
		clock    int32
		absolute bool
		want     int32
	}{
		{unix.CLOCK_MONOTONIC, false, unix.CLOCK_MONOTONIC},
		{unix.CLOCK_BOOTTIME, false, unix.CLOCK_BOOTTIME},
		{unix.CLOCK_BOOTTIME_ALARM, false, unix.CLOCK_BOOTTIME},
		{unix.CLOCK_REALTIME, false, unix.CLOCK_MONOTONIC},
		{unix.CLOCK_REALTIME, true, unix.CLOCK_REALTIME},
		{unix.CLOCK_REALTIME_ALARM, false, unix.CLOCK_REALTIME},
		{unix.CLOCK_TAI, false, unix.CLOCK_REALTIME},
	} {
		if got := (Timer{Clock: one.clock, Absolute: one.absolute}).Timeline(); got != one.want {
			t.Errorf("timeline of clock %d (absolute %v) is %d, want %d", one.clock, one.absolute, got, one.want)
		}
	}
}
