// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

// releaseReading is the host at the planned instant and that much later, with
// nothing slewed.
func releaseReading(p *clockstate.Plan, late clockstate.Nanos) clockstate.HostReading {
	at := p.Dest
	later := p.Resume.Monotonic - at.Monotonic + late
	at.Monotonic += later
	at.MonotonicRaw += later
	at.Boottime += later
	at.MonotonicCoarse = p.Resume.MonotonicCoarse
	at.Realtime += later
	return at
}

func TestProve(t *testing.T) {
	p := newPlan(t, tree(t, sourceHost()), youngHost(), clockstate.PlanOptions{Lead: second})
	proof := p.Prove(releaseReading(p, 30_000))
	if !proof.Kept || proof.Invalid != "" || len(proof.Namespaces) != 3 {
		t.Fatalf("%+v", proof)
	}
	ns := proof.Namespaces[0]
	if ns.ID != 4026531834 || len(ns.Clocks) != 4 {
		t.Fatalf("%+v", ns)
	}
	mono := clockstate.ClockProof{
		Clock: clockstate.Monotonic, Before: 3000 * second, After: 3000*second + 30_000, Wanted: 3000 * second,
		Margin: 30_000, Jump: 30_000, Kept: true,
	}
	if ns.Clocks[0] != mono {
		t.Errorf("%+v, want %+v", ns.Clocks[0], mono)
	}
	if got, want := ns.Difference.Margin, p.Outage.Duration; got != want {
		t.Errorf("BOOTTIME - MONOTONIC grew by %v, want the outage of %v", got, want)
	}
	if got, want := ns.Difference.Wanted, 600*second+p.Outage.Duration; got != want {
		t.Errorf("BOOTTIME - MONOTONIC should be %v, want %v", got, want)
	}
}

func TestProveSeesWhatIsBroken(t *testing.T) {
	p := newPlan(t, simpleTree(t, sourceHost()), youngHost(), clockstate.PlanOptions{Policy: clockstate.Freeze, Lead: second})
	for _, tc := range []struct {
		name   string
		change func(at *clockstate.HostReading)
		broken string // Names of what is, "" if nothing.
	}{
		{"on time", func(*clockstate.HostReading) {}, ""},
		{"too early", func(at *clockstate.HostReading) { at.Monotonic-- }, "CLOCK_MONOTONIC "},
		{"late tick", func(at *clockstate.HostReading) { at.MonotonicCoarse -= 4 * millisecond }, "CLOCK_MONOTONIC_COARSE "},
		{"RAW stepped back", func(at *clockstate.HostReading) { at.MonotonicRaw -= 300 * millisecond }, "CLOCK_MONOTONIC_RAW "},
		{"BOOTTIME within the readings", func(at *clockstate.HostReading) { at.Boottime -= 200 }, ""},
		{"BOOTTIME too early", func(at *clockstate.HostReading) { at.Boottime -= 201 }, "CLOCK_BOOTTIME "},
		{"only the difference", func(at *clockstate.HostReading) { at.Monotonic += 2000 }, "difference"},
		{"the difference, within the readings", func(at *clockstate.HostReading) { at.Monotonic += 800 + 200 }, ""},
		{"the difference, just not", func(at *clockstate.HostReading) { at.Monotonic += 800 + 201 }, "difference"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := releaseReading(p, 0)
			tc.change(&at)
			proof := p.Prove(at)
			var broken strings.Builder
			for _, c := range proof.Namespaces[0].Clocks {
				if c.Kept != (c.Margin >= 0) || c.Margin != c.After-c.Before {
					t.Errorf("%+v", c)
				}
				if !c.Kept {
					broken.WriteString(c.Clock.String() + " ")
				}
			}
			if !proof.Namespaces[0].Difference.Kept {
				broken.WriteString("difference")
			}
			if broken.String() != tc.broken || proof.Kept != (tc.broken == "") || proof.Namespaces[0].Kept != proof.Kept {
				t.Errorf("broken is %q, want %q: %+v", broken.String(), tc.broken, proof)
			}
		})
	}
}

func TestProveRefusesUselessReadings(t *testing.T) {
	p := newPlan(t, simpleTree(t, sourceHost()), youngHost(), clockstate.PlanOptions{})
	rebooted := releaseReading(p, 0)
	rebooted.BootID = "another"
	impossible := releaseReading(p, 0)
	impossible.Monotonic = -1
	for name, at := range map[string]clockstate.HostReading{"another boot": rebooted, "impossible": impossible, "nothing": {}} {
		if proof := p.Prove(at); proof.Kept || proof.Invalid == "" {
			t.Errorf("%s: %+v", name, proof)
		}
	}
}

func TestCompare(t *testing.T) {
	before := clockstate.Readings{Monotonic: 10, MonotonicRaw: 10, MonotonicCoarse: 5, Boottime: 20}
	after := clockstate.Readings{Monotonic: 12, MonotonicRaw: 10, MonotonicCoarse: 9, Boottime: 21}
	if got := clockstate.Compare(before, after, 1); !got.Kept || got.Difference.Margin != -1 {
		t.Errorf("Compare() = %+v", got)
	}
	if got := clockstate.Compare(before, after, 0); got.Kept || got.Difference.Kept {
		t.Errorf("Compare() without tolerance = %+v", got)
	}
	if got := clockstate.Compare(after, before, 1); got.Kept {
		t.Errorf("Compare() backward = %+v", got)
	}
	const least, most = -1 << 63, 1<<63 - 1
	ends := []clockstate.Readings{{Monotonic: least, Boottime: most}, {Monotonic: most, Boottime: least}}
	if got := clockstate.Compare(ends[0], ends[1], most); got.Kept || got.Clocks[0].Margin != most || got.Clocks[3].Margin != least {
		t.Errorf("Compare() of the ends of 64 bits = %+v", got)
	}
}
