// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"errors"
	"testing"
)

func TestCarriedOut(t *testing.T) {
	const ms = Nanos(1_000_000)
	plan := &Plan{
		State: &State{}, Dest: HostReading{BootID: "b"},
		Resume: Readings{Monotonic: 100 * ms, MonotonicRaw: 100 * ms, MonotonicCoarse: 99 * ms, Boottime: 100 * ms}, ResumeRealtime: 5000 * ms, OnTick: true,
		Outage: Outage{Measured: 20 * ms, Duration: 20 * ms},
		Namespaces: []PlannedNamespace{{
			ID: 7, Offsets: Offsets{Monotonic: -20 * ms},
			Recorded: Readings{Monotonic: 80 * ms, MonotonicRaw: 79 * ms, MonotonicCoarse: 78 * ms, Boottime: 80 * ms},
		}},
	}
	for _, tt := range []struct {
		name    string
		missed  Nanos // By MONOTONIC's offset.
		later   Nanos
		keptNow bool // At the instant that was planned.
	}{
		{"as planned", 0, 0, true},
		{"behind", -3 * ms, 3 * ms, false},
		{"ahead", 3 * ms, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := plan.CarriedOut(7, Offsets{Monotonic: -20*ms + tt.missed})
			if err != nil {
				t.Fatal(err)
			}
			if later := got.Resume.Monotonic - plan.Resume.Monotonic; later != tt.later || got.ResumeRealtime-plan.ResumeRealtime != later || got.Outage.Duration-plan.Outage.Duration != later {
				t.Errorf("the resume is later by %v, want %v: %+v", later, tt.later, got)
			}
			if kept := got.Prove(HostReading{Readings: plan.Resume, BootID: "b"}).Kept; kept != tt.keptNow {
				t.Errorf("kept at the planned instant: %v", kept)
			}
			if p := got.Prove(HostReading{Readings: got.Resume, BootID: "b"}); !p.Kept {
				t.Errorf("not kept at its own: %+v", p)
			}
			if plan.Namespaces[0].Offsets != (Offsets{Monotonic: -20 * ms}) {
				t.Error("the plan itself has changed")
			}
		})
	}
	if _, err := plan.CarriedOut(8, Offsets{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a namespace that is not in it: %v", err)
	}
}
