// SPDX-License-Identifier: Apache-2.0

package clockstate

const (
	// CoarseMargin is how long after a tick a resume is planned, so that the
	// tick's own work is done and MONOTONIC_COARSE has its new value.
	CoarseMargin Nanos = 100_000
	// WorstCoarseLag is the most that MONOTONIC_COARSE is taken to lag behind
	// MONOTONIC on a host whose tick is unknown: two ticks at HZ=250 and a
	// margin. 8.1 ms is also the most that was observed.
	WorstCoarseLag Nanos = 8_100_000
	// slewDivisor is 1e6/500: the kernel's frequency adjustment is limited to
	// 500 parts per million.
	slewDivisor = 2000
)

// known reports whether the tick says when the updates of COARSE happen. One
// that makes no sense (a lag of ten periods cannot be seen right after an
// update) counts as unknown, because the worst case is always safe.
func (t Tick) known() bool {
	return t.Edge > 0 && t.Period > 0 && t.Period <= nanosPerSecond && t.Lag/10 < t.Period
}

// worstCoarseLag bounds the lag of COARSE on a host whose tick is unknown.
func worstCoarseLag(h HostReading) Nanos {
	worst := max(WorstCoarseLag, satSub(h.Monotonic, h.MonotonicCoarse))
	if h.Tick.Period > 0 && h.Tick.Period <= nanosPerSecond {
		worst = max(worst, 2*h.Tick.Period+CoarseMargin)
	}
	return worst
}

// resumeInstant returns the host's MONOTONIC at the planned resume: lead after
// the reading or, with the tick known, the first instant from there on that is
// CoarseMargin after an update of COARSE. That is when COARSE lags least, so
// that what a program has read of it before the freeze is almost always less.
func resumeInstant(dest HostReading, lead Nanos) (at Nanos, onTick bool, err error) {
	earliest, err := Add(dest.Monotonic, lead)
	if err != nil {
		return 0, false, err
	}
	tick := dest.Tick
	if !tick.known() {
		return earliest, false, nil
	}
	phase, err := Add(tick.Edge%tick.Period, CoarseMargin)
	if err != nil {
		return 0, false, err
	}
	// Ticks repeat for ever in both directions, so only the phase matters.
	wait := (phase - earliest) % tick.Period
	if wait < 0 {
		wait += tick.Period
	}
	at, err = Add(earliest, wait)
	return at, err == nil, err
}

// predict returns the least that the host's clocks can read when its MONOTONIC
// is at. Only Monotonic itself is exact.
func predict(dest HostReading, at Nanos, onTick bool) (Readings, error) {
	later, err := Sub(at, dest.Monotonic)
	if err != nil {
		return Readings{}, err
	}
	out := Readings{Monotonic: at}
	// The other clocks may have been read up to Width after MONOTONIC.
	sinceRead, err := Sub(later, dest.Width)
	if err != nil {
		return Readings{}, err
	}
	if out.Boottime, err = Add(dest.Boottime, sinceRead); err != nil {
		return Readings{}, err
	}
	// The whole time between the two readings of RAW counts, rounded up.
	slew := later/slewDivisor + dest.Width/slewDivisor + 2
	rawSince, err := Sub(sinceRead, slew)
	if err != nil {
		return Readings{}, err
	}
	if out.MonotonicRaw, err = Add(dest.MonotonicRaw, rawSince); err != nil {
		return Readings{}, err
	}
	if out.MonotonicCoarse, err = predictCoarse(dest, at, onTick); err != nil {
		return Readings{}, err
	}
	if sinceRead >= 0 {
		// COARSE itself never goes back.
		out.MonotonicCoarse = max(out.MonotonicCoarse, dest.MonotonicCoarse)
	}
	return out, nil
}

func predictCoarse(dest HostReading, at Nanos, onTick bool) (Nanos, error) {
	lag := worstCoarseLag(dest)
	if onTick {
		lag = dest.Tick.Lag + CoarseMargin
	}
	return Sub(at, lag)
}
