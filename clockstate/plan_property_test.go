// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

// restoreCase is one tree, one destination and one plan for it.
type restoreCase struct {
	state   *clockstate.State
	host    *simHost
	dest    clockstate.HostReading
	options clockstate.PlanOptions
	// outage is the true time from the freeze to the reading dest.
	outage clockstate.Nanos
}

func drawRestore(r *rapid.T) restoreCase {
	src := drawHost(r, "source")
	c := restoreCase{state: drawState(r, src)}
	longest := rapid.SampledFrom([]clockstate.Nanos{10 * millisecond, minute, year, 50 * year}).Draw(r, "longest outage")
	c.outage = drawNanos(r, "outage", 10*millisecond, longest)
	if rapid.Bool().Draw(r, "same boot") {
		same := *src
		suspended := drawNanos(r, "suspended meanwhile", 0, c.outage-5*millisecond)
		same.bootAhead += suspended
		same.real += drawNanos(r, "clock set by", -min(src.real, year), year)
		c.host = &same
		c.dest = same.read(r, src.now+c.outage-suspended, drawNanos(r, "width here", 0, 2000))
	} else {
		c.host = drawHost(r, "destination")
		c.placeWallClock(r, src)
		c.dest = c.host.read(r, c.host.now, drawNanos(r, "width here", 0, 2000))
	}
	c.dest.Tick = c.host.tick(r)
	c.options = clockstate.PlanOptions{
		Policy: rapid.SampledFrom(clockstate.Policies()).Draw(r, "policy"),
		Lead:   drawNanos(r, "lead", 0, 5*second),
	}
	return c
}

// placeWallClock gives the destination a wall clock that is right to within
// what both sides claim, or leaves it anywhere.
func (c *restoreCase) placeWallClock(r *rapid.T, src *simHost) {
	if !src.wall.Synchronised || !c.host.wall.Synchronised {
		return
	}
	allowed := src.wall.MaxError + c.host.wall.MaxError
	c.host.real = src.real + c.outage + drawNanos(r, "wall clocks differ by", -min(allowed, src.real), allowed)
}

// release reads the clocks at a release that is late by any time, with the
// host possibly suspended since the plan was made.
func (c *restoreCase) release(r *rapid.T, p *clockstate.Plan) clockstate.HostReading {
	late := rapid.SampledFrom([]clockstate.Nanos{0, millisecond, minute, year}).Draw(r, "latest release")
	at := p.Resume.Monotonic + drawNanos(r, "release late by", 0, late)
	host := *c.host
	host.bootAhead += drawNanos(r, "suspended before the release", 0, late)
	return host.read(r, at, drawNanos(r, "width at the release", 0, 2000))
}

// TestPromise is the heart of crtime: between any two hosts and for every
// policy, the promise is kept or the plan is refused.
func TestPromise(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := drawRestore(r)
		p, err := clockstate.NewPlan(c.state, c.dest, c.options)
		if err != nil {
			if _, outside := errors.AsType[*clockstate.RangeError](err); !outside {
				r.Fatalf("refused for no good reason: %v", err)
			}
			return
		}
		checkKernelAccepts(r, p)
		checkOutage(r, c, p)
		for _, ns := range p.Namespaces {
			checkWanted(r, c, p, ns)
		}
		if proof := p.Prove(c.release(r, p)); !proof.Kept {
			r.Fatalf("the promise is broken: %+v\nplan: %+v", proof, p)
		}
	})
}

// checkKernelAccepts writes the offsets as early as possible, at the reading.
func checkKernelAccepts(r *rapid.T, p *clockstate.Plan) {
	for _, ns := range p.Namespaces {
		for _, host := range []clockstate.Readings{p.Dest.Readings, p.Resume} {
			for _, n := range []clockstate.Nanos{host.Monotonic + ns.Offsets.Monotonic, host.Boottime + ns.Offsets.Boottime} {
				if n < 0 || n > clockstate.MaxReading {
					r.Fatalf("the kernel would refuse %+v: a clock would read %v", ns, n)
				}
			}
		}
	}
}

// checkOutage compares the measured outage with the true one.
func checkOutage(r *rapid.T, c restoreCase, p *clockstate.Plan) {
	truth := c.outage + p.Resume.Monotonic - p.Dest.Monotonic
	if got := p.Outage; got.Bounded && absolute(got.Measured-truth) > got.Error {
		r.Fatalf("outage %+v, the truth is %v", got, truth)
	}
	if p.Outage.Duration != max(0, p.Outage.Measured) {
		r.Fatalf("outage %+v", p.Outage)
	}
}

func absolute(n clockstate.Nanos) clockstate.Nanos { return max(n, -n) }

// checkWanted compares the plan with the table of the policies, and its
// corrections with its offsets.
func checkWanted(r *rapid.T, c restoreCase, p *clockstate.Plan, ns clockstate.PlannedNamespace) {
	s, d := ns.Recorded, p.Outage.Duration
	mono, boot := s.Monotonic, s.Boottime
	switch p.Policy {
	case clockstate.Freeze:
	case clockstate.Suspend:
		boot += d
	case clockstate.Elapsed:
		mono, boot = mono+d, boot+d
	case clockstate.FollowHost:
		// The table says only "at least".
		mono, boot = max(mono, p.Resume.Monotonic), max(boot, ns.Wanted.Boottime)
	}
	if ns.Wanted.Monotonic != mono || ns.Wanted.Boottime != boot {
		r.Fatalf("%v wants %+v of %+v with an outage of %v", p.Policy, ns.Wanted, s, d)
	}
	var monoForward, bootForward clockstate.Nanos
	for _, fix := range ns.Corrections {
		if fix.Forward <= 0 || fix.Why == "" {
			r.Fatalf("correction %+v", fix)
		}
		if fix.Clock == clockstate.Boottime {
			bootForward += fix.Forward
		} else {
			monoForward += fix.Forward
		}
	}
	if got := p.Resume.Monotonic + ns.Offsets.Monotonic; got != mono+monoForward {
		r.Fatalf("MONOTONIC will read %v, want %v and %v of corrections", got, mono, monoForward)
	}
	if got := p.Resume.Boottime + p.Dest.Width + ns.Offsets.Boottime; got != boot+bootForward {
		r.Fatalf("BOOTTIME will read %v, want %v and %v of corrections", got, boot, bootForward)
	}
	if p.Outage.Source == clockstate.SameBoot && p.OnTick && p.Policy == clockstate.Suspend {
		checkSameBoot(r, c, p, ns)
	}
}

// checkSameBoot: on its own host a tree's BOOTTIME goes on exactly, and its
// COARSE needs no more than the margin.
func checkSameBoot(r *rapid.T, c restoreCase, p *clockstate.Plan, ns clockstate.PlannedNamespace) {
	for _, fix := range ns.Corrections {
		if fix.Clock == clockstate.MonotonicCoarse && fix.Forward > clockstate.CoarseMargin+2*(p.Dest.Width+p.State.Freeze.Width) {
			r.Fatalf("COARSE is corrected by %v on its own host with a known tick", fix.Forward)
		}
	}
	for _, recorded := range c.state.Namespaces {
		if recorded.ID == ns.ID && len(ns.Corrections) == 0 && ns.Offsets.Boottime != recorded.Offsets.Boottime {
			r.Fatalf("BOOTTIME's offset was %v and becomes %v", recorded.Offsets.Boottime, ns.Offsets.Boottime)
		}
	}
}

// drawEdge returns a number from low to high, often at or next to one of the
// ends, and rarely any number at all.
func drawEdge(r *rapid.T, label string, low, high clockstate.Nanos) clockstate.Nanos {
	wild := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, -1, math.MaxInt64 / 2, math.MaxInt64}))
	inside := rapid.Int64Range(int64(low), int64(high))
	ends := rapid.SampledFrom([]int64{int64(low), min(int64(low)+1, int64(high)), max(int64(high)-1, int64(low)), int64(high)})
	switch kind := rapid.IntRange(0, 59).Draw(r, "kind of "+label); {
	case kind == 59:
		return clockstate.Nanos(wild.Draw(r, label))
	case kind%2 == 0:
		return clockstate.Nanos(ends.Draw(r, label))
	default:
		return clockstate.Nanos(inside.Draw(r, label))
	}
}

// drawEdgeReading returns a reading at the limits of what a kernel can say, and
// sometimes beyond.
func drawEdgeReading(r *rapid.T, boot string) clockstate.HostReading {
	const most = clockstate.MaxReading
	h := clockstate.HostReading{
		Realtime: drawEdge(r, "REALTIME", 0, math.MaxInt64),
		TAI:      drawEdge(r, "TAI", math.MinInt64, math.MaxInt64),
		Width:    drawEdge(r, "width", 0, minute),
		BootID:   boot,
		WallClock: clockstate.WallClock{
			Known: true, Synchronised: true,
			MaxError:  drawEdge(r, "maximum error", 0, math.MaxInt64/2),
			TAIOffset: rapid.Int32().Draw(r, "TAI offset"),
		},
	}
	h.Monotonic = drawEdge(r, "MONOTONIC", 0, most)
	h.MonotonicRaw = drawEdge(r, "MONOTONIC_RAW", 0, most)
	h.MonotonicCoarse = drawEdge(r, "MONOTONIC_COARSE", 0, max(0, min(h.Monotonic, most)))
	h.Boottime = drawEdge(r, "BOOTTIME", 0, most)
	if rapid.Bool().Draw(r, "with tick") {
		h.Tick.Edge = drawEdge(r, "edge", 0, math.MaxInt64)
		h.Tick.Period = drawEdge(r, "period", 0, second)
		h.Tick.Lag = drawEdge(r, "lag", 0, 10*second)
	}
	return h
}

// drawEdgeState returns a state at the limits; false if there is none with the
// offsets that were drawn.
func drawEdgeState(r *rapid.T) (*clockstate.State, bool) {
	h := drawEdgeReading(r, "a")
	const most = clockstate.MaxReading
	inRange := func(n clockstate.Nanos) clockstate.Nanos { return min(max(n, 0), most) }
	least := inRange(min(h.Monotonic, h.MonotonicRaw, h.MonotonicCoarse))
	largest := inRange(max(h.Monotonic, h.MonotonicRaw))
	o := clockstate.Offsets{
		Monotonic: drawEdge(r, "MONOTONIC offset", -least, most-largest),
		Boottime:  drawEdge(r, "BOOTTIME offset", -inRange(h.Boottime), most-inRange(h.Boottime)),
	}
	shifted, err := h.Shift(o)
	return &clockstate.State{
		Host: clockstate.Host{BootID: "a"}, Freeze: h, FreezeSource: clockstate.FreezeWatched, RootPID: 1,
		Namespaces: []clockstate.Namespace{{ID: 1, Offsets: o}},
		Processes:  []clockstate.Process{{PID: 1, OuterPID: 1, Namespace: 1, NamespaceForChildren: 1, Readings: shifted}},
	}, err == nil
}

// TestNoOverflow plans with numbers at and beyond the limits of the kernel and
// of 64 bits. Whatever is not refused keeps the promise for a release right on
// time, and no sum on the way turned over.
func TestNoOverflow(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s, ok := drawEdgeState(r)
		if !ok {
			return
		}
		dest := drawEdgeReading(r, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "boot"))
		o := clockstate.PlanOptions{
			Policy: rapid.SampledFrom(clockstate.Policies()).Draw(r, "policy"),
			Lead:   drawEdge(r, "lead", 0, 10*year),
		}
		if rapid.Bool().Draw(r, "with link") {
			o.Link = &clockstate.LinkMeasurement{
				Offset:        drawEdge(r, "link offset", -clockstate.MaxReading, clockstate.MaxReading),
				HalfRoundTrip: drawEdge(r, "half round trip", 0, math.MaxInt64),
			}
		}
		p, err := clockstate.NewPlan(s, dest, o)
		if err != nil {
			return
		}
		checkKernelAccepts(r, p)
		for _, ns := range p.Namespaces {
			if slices.ContainsFunc(ns.Corrections, func(c clockstate.Correction) bool { return c.Forward <= 0 }) {
				r.Fatalf("a correction is not forward: %+v", ns)
			}
		}
		proof := p.Prove(clockstate.HostReading{Readings: p.Resume, BootID: dest.BootID})
		if !proof.Kept && proof.Invalid == "" {
			r.Fatalf("not kept: %+v\nplan: %+v", proof, p)
		}
		// A reading of any kind is no reason to panic, and an impossible one
		// proves nothing.
		if proof := p.Prove(drawEdgeReading(r, dest.BootID)); proof.Invalid != "" && proof.Kept {
			r.Fatalf("kept although %s", proof.Invalid)
		}
	})
}
