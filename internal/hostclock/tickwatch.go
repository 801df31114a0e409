// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"context"
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/urgent"
)

const (
	// glance is how often COARSE is looked at while it is not known when it
	// changes.
	glance = 200 * time.Microsecond
	// early is how long before the expected update the spinning begins.
	early clockstate.Nanos = 60_000
)

// TickWatch looks for the clock tick beside other work. It sleeps nearly all the
// time: it sees one update to within 0.2 ms, and then knows when to look closely
// at the next one.
type TickWatch struct {
	cancel context.CancelFunc
	// seen holds what is known: nothing until the first update was seen or given
	// up, later the better value. Whoever takes it puts it back.
	seen chan sighting
	done chan struct{}
}

// sighting is what a TickWatch knows.
type sighting struct {
	tick clockstate.Tick
	err  error
}

// WatchTick begins to look for the tick, until ctx ends. The caller must call Stop.
func (r *Reader) WatchTick(ctx context.Context) *TickWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &TickWatch{cancel: cancel, seen: make(chan sighting, 1), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		urgent.Do(func() { w.run(ctx, r) })
	}()
	return w
}

// Tick returns the tick as SampleTick does, as well as it is known by now. It waits
// only until one update has been seen, a tick at most.
func (w *TickWatch) Tick(ctx context.Context) (clockstate.Tick, error) {
	select {
	case s := <-w.seen:
		w.seen <- s
		return s.tick, s.err
	case <-ctx.Done():
		return clockstate.Tick{}, fmt.Errorf("find the clock tick: %w", context.Cause(ctx))
	}
}

// Stop ends the search. It can be called again.
func (w *TickWatch) Stop() {
	w.cancel()
	<-w.done
}

// run sees one update from afar and the next one closely.
func (w *TickWatch) run(ctx context.Context, r *Reader) {
	tick, before, err := r.glimpse(ctx)
	w.seen <- sighting{tick, err}
	if err != nil || tick.Edge == 0 || r.tickPeriod <= 0 {
		return
	}
	next := before + r.tickPeriod
	now, err := monotonic()
	if err != nil {
		return // The first sighting stands.
	}
	urgent.Sleep(time.Duration(max(0, next-early-now)))
	edge, lag, err := nextEdge(ctx, next+2*r.tickPeriod)
	if err != nil || edge == 0 || lag >= tick.Lag {
		return
	}
	<-w.seen
	w.seen <- sighting{tick: clockstate.Tick{Edge: edge - r.own.Monotonic, Period: r.tickPeriod, Lag: lag}}
}

// glimpse sees one update, late by a glance at most. before is when COARSE had
// still the old value, on this process's MONOTONIC.
func (r *Reader) glimpse(ctx context.Context) (tick clockstate.Tick, before clockstate.Nanos, err error) {
	first, err := gettime(coarseClock)
	if err != nil {
		return tick, 0, err
	}
	start, err := monotonic()
	if err != nil {
		return tick, 0, err
	}
	for before = start; before < start+tickPatience && ctx.Err() == nil; {
		urgent.Sleep(glance)
		coarse, err := gettime(coarseClock)
		if err != nil {
			return tick, 0, err
		}
		now, err := monotonic()
		if err != nil {
			return tick, 0, err
		}
		if coarse != first {
			return clockstate.Tick{Edge: now - r.own.Monotonic, Period: r.tickPeriod, Lag: now - coarse}, before, nil
		}
		before = now
	}
	return tick, 0, nil
}
