// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

const (
	// tickEdges is how many updates are looked at. An interrupt or another task
	// between an update and our seeing it makes the edge late and the lag large;
	// the one with the smaller lag is the better.
	tickEdges = 2
	// tickPatience bounds the whole search. The slowest tick is 10 ms (HZ=100),
	// so two edges pass within 20 ms.
	tickPatience clockstate.Nanos = 25_000_000
	// spinsPerCheck is how often the context is looked at while spinning: every
	// 20 us or so.
	spinsPerCheck = 64
)

// SampleTick finds when the kernel updates MONOTONIC_COARSE: it spins until the
// value changes, twice, for at most 25 ms, and returns the update at which
// COARSE lagged least. Edge is the host's MONOTONIC when the new value was first
// seen, typically less than a microsecond after the update; Lag is MONOTONIC
// minus COARSE then; Period is the clock's resolution.
//
// The zero Tick, without an error, means that no update was seen in time. The
// error is the context's or the kernel's.
func (r *Reader) SampleTick(ctx context.Context) (clockstate.Tick, error) {
	start, err := monotonic()
	if err != nil {
		return clockstate.Tick{}, err
	}
	var best clockstate.Tick
	for range tickEdges {
		edge, lag, err := nextEdge(ctx, start+tickPatience)
		if err != nil {
			return clockstate.Tick{}, fmt.Errorf("find the clock tick: %w", err)
		}
		if edge == 0 {
			break
		}
		if best.Edge == 0 || lag < best.Lag {
			best = clockstate.Tick{Edge: edge - r.own.Monotonic, Period: r.tickPeriod, Lag: lag}
		}
	}
	return best, nil
}

// nextEdge spins until COARSE changes. It returns this process's MONOTONIC right
// after, and how far COARSE is behind; 0 if there was no change until deadline.
func nextEdge(ctx context.Context, deadline clockstate.Nanos) (edge, lag clockstate.Nanos, err error) {
	before, err := gettime(coarseClock)
	if err != nil {
		return 0, 0, err
	}
	for i := 1; ; i++ {
		coarse, err := gettime(coarseClock)
		if err != nil {
			return 0, 0, err
		}
		now, err := monotonic()
		switch {
		case err != nil:
			return 0, 0, err
		case coarse != before:
			return now, now - coarse, nil
		case now >= deadline:
			return 0, 0, nil
		}
		if i%spinsPerCheck == 0 && ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
	}
}

// coarseClock is the clock whose updates are looked for.
const coarseClock = unix.CLOCK_MONOTONIC_COARSE

// monotonic reads this process's MONOTONIC, its own offset included.
func monotonic() (clockstate.Nanos, error) { return gettime(unix.CLOCK_MONOTONIC) }

// gettime reads one of this process's clocks.
func gettime(clock int32) (clockstate.Nanos, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("clock_gettime: %w", err)
	}
	return clockstate.Nanos(ts.Nano()), nil
}
