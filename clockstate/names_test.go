// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

func TestParsePolicy(t *testing.T) {
	for _, p := range clockstate.Policies() {
		got, err := clockstate.ParsePolicy(p.String())
		if err != nil || got != p {
			t.Errorf("ParsePolicy(%q) = %v, %v", p.String(), got, err)
		}
		if p.Describe() == "" || strings.HasPrefix(p.Describe(), "Not") {
			t.Errorf("%v has no description", p)
		}
	}
	_, err := clockstate.ParsePolicy("Suspend")
	if !errors.Is(err, clockstate.ErrInvalid) {
		t.Fatalf("ParsePolicy(Suspend) gives %v", err)
	}
	for _, p := range clockstate.Policies() {
		if !strings.Contains(err.Error(), p.String()) {
			t.Errorf("the error does not name %v: %v", p, err)
		}
	}
	var zero clockstate.Policy
	if zero != clockstate.Suspend {
		t.Errorf("the default policy is %v", zero)
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		clock   clockstate.Clock
		name    string
		shifted bool
	}{
		{clockstate.Monotonic, "CLOCK_MONOTONIC", true},
		{clockstate.MonotonicRaw, "CLOCK_MONOTONIC_RAW", true},
		{clockstate.MonotonicCoarse, "CLOCK_MONOTONIC_COARSE", true},
		{clockstate.Boottime, "CLOCK_BOOTTIME", true},
		{clockstate.BoottimeAlarm, "CLOCK_BOOTTIME_ALARM", true},
		{clockstate.Realtime, "CLOCK_REALTIME", false},
		{clockstate.TAI, "CLOCK_TAI", false},
		{clockstate.Clock(77), "Clock(77)", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.clock.String(); got != tc.name {
				t.Errorf("String() = %q", got)
			}
			if got := tc.clock.Shifted(); got != tc.shifted {
				t.Errorf("Shifted() = %v", got)
			}
			if _, ok := (clockstate.Readings{}).Of(tc.clock); ok != tc.shifted {
				t.Errorf("Readings.Of() knows it: %v", ok)
			}
		})
	}
}

// TestNamesAsText puts every named number through JSON and back, and checks
// that numbers and words without a meaning are refused.
func TestNamesAsText(t *testing.T) {
	type numbers struct {
		Policy clockstate.Policy
		Clock  clockstate.Clock
		Source clockstate.OutageSource
		Freeze clockstate.FreezeSource
	}
	in := numbers{clockstate.FollowHost, clockstate.TAI, clockstate.WallClockSource, clockstate.FreezeImported}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Policy":"host","Clock":"CLOCK_TAI","Source":"wall-clock","Freeze":"imported"}`
	if string(text) != want {
		t.Errorf("as JSON: %s, want %s", text, want)
	}
	var out numbers
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("back from JSON: %+v, %v", out, err)
	}
	for _, bad := range []encoding.TextMarshaler{
		clockstate.Policy(9), clockstate.Clock(9), clockstate.OutageSource(9), clockstate.FreezeSource(9),
	} {
		if text, err := bad.MarshalText(); !errors.Is(err, clockstate.ErrInvalid) {
			t.Errorf("%T without a meaning is written as %q, %v", bad, text, err)
		}
	}
	for _, into := range []encoding.TextUnmarshaler{&out.Policy, &out.Clock, &out.Source, &out.Freeze} {
		if err := into.UnmarshalText([]byte("nonsense")); !errors.Is(err, clockstate.ErrInvalid) {
			t.Errorf("%T takes nonsense: %v", into, err)
		}
	}
	if out != in {
		t.Errorf("a failed UnmarshalText changed its receiver: %+v", out)
	}
}
