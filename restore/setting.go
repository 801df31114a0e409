// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image/view"
	"github.com/crtime/crtime/internal/urgent"
)

const (
	// criuReads is how long after the clocks were read here CRIU subtracts them: it has
	// to be woken, and to decode the record and make the namespace. Observed: 1.5 to
	// 2.8 ms, in a virtual machine with some load. Less is assumed: MONOTONIC jumps by
	// what is too much, and is held for what is too little.
	criuReads = clockstate.Nanos(time.Millisecond)
	// criuBetween is more than passes between CRIU's reading of MONOTONIC and that of
	// BOOTTIME (0.03 to 0.1 ms), by which BOOTTIME - MONOTONIC shrinks.
	criuBetween = clockstate.Nanos(time.Millisecond)
)

// setting waits for CRIU to ask for the clocks, and answers.
type setting struct {
	images  *Images
	clocks  *hostclock.Reader
	options clockstate.PlanOptions
	offer   *view.ClockOffer
	tick    *hostclock.TickWatch

	done chan struct{} // Closed at the end of run; what follows is then known.
	plan *clockstate.Plan
	err  error
}

// run answers once. An error has CRIU find an empty record, and fail.
func (s *setting) run() {
	defer close(s.done)
	urgent.Do(func() {
		if s.err = s.offer.Await(); s.err == nil {
			s.err = s.answer()
		}
	})
	if s.err != nil {
		s.offer.Close()
	}
}

// end ends it, and returns the plan that CRIU was told.
func (s *setting) end() (*clockstate.Plan, error) {
	s.offer.Close()
	<-s.done
	s.tick.Stop()
	return s.plan, s.err
}

// answer makes the plan and writes the record. Nothing but the encoding of two numbers
// stands between the reading of the clocks and CRIU.
func (s *setting) answer() error {
	tick, err := s.tick.Tick(context.Background())
	if err != nil {
		return err
	}
	if s.plan, err = planFrom(s.images.State, s.clocks, tick, s.options); err != nil {
		return err
	}
	planned, err := oneNamespace(s.plan)
	if err != nil {
		return err
	}
	now, err := s.clocks.Glance()
	if err != nil {
		return err
	}
	mono, boot := record(now, planned)
	return s.offer.Put(mono, boot)
}

// record is what the two clocks of a namespace read when CRIU subtracts its own, which
// is a little after now.
func record(now clockstate.HostReading, planned clockstate.PlannedNamespace) (mono, boot clockstate.Nanos) {
	mono = now.Monotonic + planned.Offsets.Monotonic + criuReads
	boot = now.Boottime + planned.Offsets.Boottime + criuReads
	least := mono + planned.Recorded.Boottime - planned.Recorded.Monotonic + criuBetween
	return mono, max(boot, least)
}
