// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

// imported makes of a state what a CRIU dump of the tree would have told: the clocks of
// one namespace, without RAW, and COARSE no better known than by MONOTONIC.
func imported(s *clockstate.State) {
	s.FreezeSource = clockstate.FreezeImported
	s.Host = clockstate.Host{}
	s.Freeze = clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic: s.Freeze.Monotonic, MonotonicCoarse: s.Freeze.Monotonic, Boottime: s.Freeze.Boottime,
		},
		Realtime: s.Freeze.Realtime,
	}
	s.Namespaces = []clockstate.Namespace{{ID: 1}}
	for i := range s.Processes {
		p := &s.Processes[i]
		p.Namespace, p.NamespaceForChildren, p.Readings = 1, 1, s.Freeze.Readings
	}
}

func TestRecorded(t *testing.T) {
	whole := tree(t, sourceHost())
	part := tree(t, sourceHost())
	imported(part)
	undated := tree(t, sourceHost())
	imported(undated)
	undated.Freeze.Realtime = 0
	for _, tc := range []struct {
		clock                clockstate.Clock
		whole, part, undated bool
	}{
		{clockstate.Monotonic, true, true, true},
		{clockstate.MonotonicRaw, true, false, false},
		{clockstate.MonotonicCoarse, true, true, true},
		{clockstate.Boottime, true, true, true},
		{clockstate.BoottimeAlarm, true, true, true},
		{clockstate.Realtime, true, true, false},
		{clockstate.TAI, true, false, false},
		{clockstate.Clock(99), false, false, false},
	} {
		if a, b, c := whole.Recorded(tc.clock), part.Recorded(tc.clock), undated.Recorded(tc.clock); a != tc.whole || b != tc.part || c != tc.undated {
			t.Errorf("%v: %v, %v and %v, want %v, %v and %v", tc.clock, a, b, c, tc.whole, tc.part, tc.undated)
		}
	}
}

// TestFrozenWall checks what timers on the wall clocks count from.
func TestFrozenWall(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(s *clockstate.State)
		want   func(s *clockstate.State, p *clockstate.Plan) (realtime, tai clockstate.Nanos)
	}{
		{"recorded", func(*clockstate.State) {}, func(s *clockstate.State, _ *clockstate.Plan) (realtime, tai clockstate.Nanos) {
			return s.Freeze.Realtime, s.Freeze.TAI
		}},
		{"imported", imported, func(s *clockstate.State, p *clockstate.Plan) (realtime, tai clockstate.Nanos) {
			return s.Freeze.Realtime, s.Freeze.Realtime + p.Dest.TAI - p.Dest.Realtime
		}},
		{"imported, undated", func(s *clockstate.State) { imported(s); s.Freeze.Realtime = 0 }, func(_ *clockstate.State, p *clockstate.Plan) (realtime, tai clockstate.Nanos) {
			return p.ResumeRealtime, p.ResumeRealtime + p.Dest.TAI - p.Dest.Realtime
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tree(t, sourceHost())
			tc.change(s)
			p := newPlan(t, s, youngHost(), clockstate.PlanOptions{Policy: clockstate.Freeze})
			wantRealtime, wantTAI := tc.want(s, p)
			if realtime, tai := p.FrozenWall(); realtime != wantRealtime || tai != wantTAI {
				t.Errorf("got %v and %v, want %v and %v", realtime, tai, wantRealtime, wantTAI)
			}
		})
	}
}

// TestImportedKeepsCoarse checks the one thing that is promised without having been
// read: whatever COARSE was, it reads no less after the restore. Nothing is said of RAW.
func TestImportedKeepsCoarse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		source, host := drawHost(r, "source"), drawHost(r, "destination")
		s := tree(t, sourceHost())
		s.Freeze = source.read(r, source.now, 0)
		lagged := s.Freeze.MonotonicCoarse
		imported(s)
		dest := host.read(r, host.now, 0)
		dest.Tick = host.tick(r)
		p, err := clockstate.NewPlan(s, dest, clockstate.PlanOptions{Policy: clockstate.Freeze})
		if err != nil {
			r.Skip(err)
		}
		at := host.read(r, p.Resume.Monotonic, 0)
		after, err := at.Shift(p.Namespaces[0].Offsets)
		if err != nil {
			r.Fatal(err)
		}
		if after.MonotonicCoarse < lagged {
			r.Errorf("COARSE read %v before and reads %v after", lagged, after.MonotonicCoarse)
		}
		proof := p.Prove(at)
		if proof.Invalid != "" {
			r.Fatal(proof.Invalid)
		}
		for _, c := range proof.Namespaces[0].Clocks {
			if c.Clock == clockstate.MonotonicRaw {
				r.Errorf("something is proven of %v: %+v", c.Clock, c)
			}
		}
		if !proof.Kept {
			r.Errorf("not kept: %+v", proof)
		}
	})
}
