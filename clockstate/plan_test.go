// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

// youngHost is a host 100 s after boot, 70 s after sourceHost's reading. RAW is
// where MONOTONIC is, and its tick is known.
func youngHost() clockstate.HostReading {
	src := sourceHost()
	return clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic:       100 * second,
			MonotonicRaw:    100 * second,
			MonotonicCoarse: 100*second - 2*millisecond,
			Boottime:        100 * second,
		},
		Realtime:  src.Realtime + 70*second,
		TAI:       src.TAI + 70*second,
		Width:     200,
		WallClock: src.WallClock,
		Tick:      clockstate.Tick{Edge: 90*second + 2*millisecond, Period: 4 * millisecond, Lag: millisecond},
		BootID:    "22222222-bbbb-4000-8000-000000000002",
	}
}

// simpleTree is one process in the initial time namespace.
func simpleTree(t testing.TB, h clockstate.HostReading) *clockstate.State {
	t.Helper()
	s := tree(t, h)
	s.Namespaces = s.Namespaces[:1]
	s.Processes = s.Processes[:1]
	s.Processes[0].NamespaceForChildren = s.Processes[0].Namespace
	return s
}

func newPlan(t testing.TB, s *clockstate.State, dest clockstate.HostReading, o clockstate.PlanOptions) *clockstate.Plan {
	t.Helper()
	p, err := clockstate.NewPlan(s, dest, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func codes(p *clockstate.Plan) string {
	var out []string
	for _, w := range p.Warnings {
		out = append(out, w.Code)
	}
	return strings.Join(out, " ")
}

// TestPolicies: with a lead of 1 s the resume is at MONOTONIC 101.0021 s, right
// after the tick at 101.002 s, and the outage is 71.0021 s.
func TestPolicies(t *testing.T) {
	const (
		resume = 101*second + 2*millisecond + clockstate.CoarseMargin
		outage = 71*second + 2*millisecond + clockstate.CoarseMargin
		// S of MONOTONIC and BOOTTIME.
		mono, boot = 3000 * second, 3600 * second
	)
	for _, tc := range []struct {
		policy clockstate.Policy
		old    bool // The destination has run for longer than the source.
		want   clockstate.Offsets
	}{
		{policy: clockstate.Suspend, want: clockstate.Offsets{Monotonic: mono - resume, Boottime: boot + outage - resume}},
		// 200 ns: what BOOTTIME may be less than it was read.
		{policy: clockstate.Freeze, want: clockstate.Offsets{Monotonic: mono - resume, Boottime: boot - resume + 200}},
		{policy: clockstate.Elapsed, want: clockstate.Offsets{Monotonic: mono + outage - resume, Boottime: boot + outage - resume}},
		{policy: clockstate.FollowHost, want: clockstate.Offsets{Monotonic: mono - resume, Boottime: boot - resume + 200}},
		// The host is ahead, but its BOOTTIME is not far enough from its
		// MONOTONIC: the source had been suspended for 600 s. The widths of both
		// readings are left open.
		{policy: clockstate.FollowHost, old: true, want: clockstate.Offsets{Boottime: 600*second - 400}},
	} {
		name := tc.policy.String()
		if tc.old {
			name += " on an older host"
		}
		t.Run(name, func(t *testing.T) {
			dest := youngHost()
			if tc.old {
				dest.Monotonic += day
				dest.MonotonicRaw += day
				dest.MonotonicCoarse += day
				dest.Boottime += day
			}
			p := newPlan(t, simpleTree(t, sourceHost()), dest, clockstate.PlanOptions{Policy: tc.policy, Lead: second})
			if got := p.Resume.Monotonic - dest.Monotonic; got != resume-100*second || !p.OnTick {
				t.Errorf("resume %v after the reading (on a tick: %v)", got, p.OnTick)
			}
			if p.ResumeRealtime != dest.Realtime+p.Resume.Monotonic-dest.Monotonic {
				t.Errorf("REALTIME at the resume is %v", p.ResumeRealtime)
			}
			if p.Outage.Duration != outage || p.Outage.Source != clockstate.WallClockSource || !p.Outage.Bounded {
				t.Errorf("outage %+v", p.Outage)
			}
			if got := p.Namespaces[0].Offsets; got != tc.want {
				t.Errorf("offsets %+v, want %+v", got, tc.want)
			}
			if codes(p) != "" {
				t.Errorf("warnings %v", p.Warnings)
			}
		})
	}
}

func TestCorrections(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func(src, dest *clockstate.HostReading)
		policy   clockstate.Policy
		clock    clockstate.Clock // Of the first correction.
		forward  clockstate.Nanos
		boot     clockstate.Nanos // BOOTTIME's correction, 0 if there is none.
		warnings string
	}{
		{
			name:   "RAW is behind here",
			change: func(_, dest *clockstate.HostReading) { dest.MonotonicRaw -= 400 * millisecond },
			clock:  clockstate.MonotonicRaw,
			// 400 ms further behind than the source's 250 ms, 500 ppm of a lead
			// of 1.0021 s, the width and 2 ns of rounding.
			forward: 150*millisecond + 501_050 + 200 + 2, warnings: clockstate.WarnRawCorrection,
		},
		{
			name:   "the tick is not known",
			change: func(_, dest *clockstate.HostReading) { dest.Tick = clockstate.Tick{} },
			clock:  clockstate.MonotonicCoarse, forward: 5_100_000,
			warnings: clockstate.WarnCoarseUnknown + " " + clockstate.WarnCoarseCorrection,
		},
		{
			name:   "only the tick's period is known",
			change: func(_, dest *clockstate.HostReading) { dest.Tick = clockstate.Tick{Period: 10 * millisecond} },
			clock:  clockstate.MonotonicCoarse, forward: 17_100_000,
			warnings: clockstate.WarnCoarseUnknown + " " + clockstate.WarnCoarseCorrection,
		},
		{
			name: "the tick makes no sense",
			change: func(_, dest *clockstate.HostReading) {
				dest.Tick.Lag = 40 * millisecond
			},
			clock: clockstate.MonotonicCoarse, forward: 5_100_000,
			warnings: clockstate.WarnCoarseUnknown + " " + clockstate.WarnCoarseCorrection,
		},
		{
			name: "COARSE was read right after a tick",
			change: func(src, _ *clockstate.HostReading) {
				src.MonotonicCoarse = src.Monotonic - millisecond
			},
			clock: clockstate.MonotonicCoarse, forward: clockstate.CoarseMargin,
		},
		{
			name: "BOOTTIME follows where it has nothing to spare",
			change: func(_, dest *clockstate.HostReading) {
				dest.Tick = clockstate.Tick{}
			},
			policy: clockstate.Freeze, clock: clockstate.MonotonicCoarse, forward: 5_100_000, boot: 5_100_000,
			warnings: clockstate.WarnCoarseUnknown + " " + clockstate.WarnCoarseCorrection + " " + clockstate.WarnCorrection,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src, dest := sourceHost(), youngHost()
			tc.change(&src, &dest)
			p := newPlan(t, simpleTree(t, src), dest, clockstate.PlanOptions{Policy: tc.policy, Lead: second})
			fixes := p.Namespaces[0].Corrections
			if len(fixes) == 0 || fixes[0].Clock != tc.clock || fixes[0].Forward != tc.forward {
				t.Fatalf("corrections %+v, want %v by %v", fixes, tc.clock, tc.forward)
			}
			switch {
			case tc.boot == 0 && len(fixes) != 1:
				t.Errorf("corrections %+v, want one", fixes)
			case tc.boot != 0 && (len(fixes) != 2 || fixes[1].Clock != clockstate.Boottime || fixes[1].Forward != tc.boot):
				t.Errorf("corrections %+v, want BOOTTIME by %v", fixes, tc.boot)
			}
			if got := codes(p); got != tc.warnings {
				t.Errorf("warnings %q, want %q", got, tc.warnings)
			}
		})
	}
}

// TestYoungClocks: the kernel checks an offset when it is written, before the
// resume. A clock younger than the lead would be negative then.
func TestYoungClocks(t *testing.T) {
	s := simpleTree(t, sourceHost())
	s.Namespaces[0].Offsets = clockstate.Offsets{Monotonic: -3000*second + 300*millisecond, Boottime: -3600*second + 300*millisecond}
	fillReadings(t, s)
	p := newPlan(t, s, youngHost(), clockstate.PlanOptions{Policy: clockstate.Freeze, Lead: second})
	want := clockstate.Offsets{Monotonic: -100 * second, Boottime: -100 * second}
	if got := p.Namespaces[0].Offsets; got != want {
		t.Errorf("offsets %+v, want %+v", got, want)
	}
	if len(p.Namespaces[0].Corrections) != 2 {
		t.Errorf("corrections %+v", p.Namespaces[0].Corrections)
	}
}

// TestSameHostIsUnchanged: on its own host a tree without a shift needs none
// for BOOTTIME, nor with policy host at all.
func TestSameHostIsUnchanged(t *testing.T) {
	src := sourceHost()
	dest := src
	dest.Monotonic += 10 * second
	dest.MonotonicRaw += 10 * second
	dest.MonotonicCoarse += 10 * second
	dest.Boottime += 70*second + 300 // The readings are 400 ns wide together.
	dest.Tick = clockstate.Tick{Edge: 5 * second, Period: 4 * millisecond, Lag: millisecond}
	s := tree(t, src)
	for i, ns := range newPlan(t, s, dest, clockstate.PlanOptions{}).Namespaces {
		if got, want := ns.Offsets.Boottime, s.Namespaces[i].Offsets.Boottime; got != want {
			t.Errorf("BOOTTIME's offset was %v and becomes %v", want, got)
		}
		// What remains is what RAW can have lost in the time until the tick.
		for _, fix := range ns.Corrections {
			if fix.Clock != clockstate.MonotonicRaw || fix.Forward > 4_100_000/2000+200+2 {
				t.Errorf("correction %+v", fix)
			}
		}
	}
	dest.Boottime -= 60*second + 600
	p := newPlan(t, simpleTree(t, src), dest, clockstate.PlanOptions{Policy: clockstate.FollowHost})
	if got := p.Namespaces[0].Offsets; got != (clockstate.Offsets{}) {
		t.Errorf("policy host shifts by %+v", got)
	}
}

func TestPlanPerNamespace(t *testing.T) {
	s := tree(t, sourceHost())
	p := newPlan(t, s, youngHost(), clockstate.PlanOptions{Policy: clockstate.Elapsed})
	if len(p.Namespaces) != 3 {
		t.Fatalf("%d namespaces planned", len(p.Namespaces))
	}
	for i, ns := range p.Namespaces {
		recorded := s.Namespaces[i]
		if ns.ID != recorded.ID {
			t.Errorf("namespace %d is planned in the place of %d", ns.ID, recorded.ID)
		}
		// The namespaces keep their distance from each other.
		if got, want := ns.Offsets.Monotonic-p.Namespaces[0].Offsets.Monotonic, recorded.Offsets.Monotonic; got != want {
			t.Errorf("namespace %d is %v from the first, want %v", ns.ID, got, want)
		}
	}
}

func TestPlanWarnings(t *testing.T) {
	type input struct {
		state *clockstate.State
		dest  clockstate.HostReading
		o     clockstate.PlanOptions
	}
	for _, tc := range []struct {
		name   string
		change func(in *input)
		codes  string
		says   string
	}{
		{"nothing", func(*input) {}, "", ""},
		{"wall clock behind", func(in *input) { in.dest.Realtime -= 100 * second }, "outage-negative", "29.9979s before the freeze, and is wrong by at most 40.0004ms"},
		{"wall clock not synchronised", func(in *input) { in.dest.WallClock.Synchronised = false }, "wallclock-unsynchronised", "this host's wall clock"},
		{"both", func(in *input) { in.dest.Realtime -= 100 * second; in.dest.WallClock.Known = false }, "outage-negative wallclock-unsynchronised", "wrong by any amount"},
		{"late freeze", func(in *input) { in.state.FreezeSource = clockstate.FreezeConfirmed }, "freeze-late", "up to 1ms after"},
		{"late freeze, unknown", func(in *input) { in.state.FreezeSource = clockstate.FreezeConfirmed; in.state.FreezeWindow = 0 }, "freeze-late", "unknown time"},
		{"imported", func(in *input) {
			in.state.FreezeSource = clockstate.FreezeImported
			in.state.Freeze.Realtime = 0
			in.o.Policy = clockstate.Freeze
		}, "outage-unknown clocks-not-recorded freeze-late", "CLOCK_REALTIME at the freeze"},
		{"imported, dated", func(in *input) {
			in.state.FreezeSource = clockstate.FreezeImported
		}, "wallclock-unsynchronised clocks-not-recorded freeze-late", "does not keep dates"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input{simpleTree(t, sourceHost()), youngHost(), clockstate.PlanOptions{}}
			tc.change(&in)
			p := newPlan(t, in.state, in.dest, in.o)
			if got := codes(p); got != tc.codes {
				t.Fatalf("warnings %q, want %q", got, tc.codes)
			}
			text, err := json.Marshal(p.Warnings)
			if err != nil || !strings.Contains(string(text), tc.says) {
				t.Errorf("warnings %s do not say %q (%v)", text, tc.says, err)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	type input struct {
		state *clockstate.State
		dest  clockstate.HostReading
		o     clockstate.PlanOptions
	}
	for _, tc := range []struct {
		name   string
		change func(in *input)
		err    error
	}{
		{"contradictory state", func(in *input) { in.state.RootPID = 0 }, clockstate.ErrInvalid},
		{"impossible host", func(in *input) { in.dest.Boottime = -1 }, clockstate.ErrOutOfRange},
		{"no such policy", func(in *input) { in.o.Policy = 4 }, clockstate.ErrInvalid},
		{"negative lead", func(in *input) { in.o.Lead = -1 }, clockstate.ErrInvalid},
		{"endless lead", func(in *input) { in.o.Lead = 1<<63 - 1 }, clockstate.ErrOverflow},
		{"no wall clock for suspend", func(in *input) { in.state.Freeze.Realtime = 0 }, clockstate.ErrNotRecorded},
		{"bad link whatever the policy", func(in *input) {
			in.o = clockstate.PlanOptions{Policy: clockstate.Freeze, Link: &clockstate.LinkMeasurement{HalfRoundTrip: -1}}
		}, clockstate.ErrInvalid},
		{"this boot's future", func(in *input) {
			in.dest.BootID = in.state.Host.BootID
		}, clockstate.ErrFuture},
		{"clock beyond the kernel's limit", func(in *input) { in.dest.Realtime = 250 * year }, clockstate.ErrOutOfRange},
		{"clock beyond 64 bits", func(in *input) {
			in.state.Freeze.Boottime = clockstate.MaxReading
			in.state.Freeze.Realtime = 1
			in.dest.Realtime = 290 * year
			in.state.Processes[0].Readings.Boottime = clockstate.MaxReading
		}, clockstate.ErrOutOfRange},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input{simpleTree(t, sourceHost()), youngHost(), clockstate.PlanOptions{}}
			tc.change(&in)
			p, err := clockstate.NewPlan(in.state, in.dest, in.o)
			if !errors.Is(err, tc.err) || p != nil {
				t.Fatalf("NewPlan() = %+v, %v, want %v", p, err, tc.err)
			}
			if p, err := clockstate.NewPlan(nil, in.dest, in.o); err == nil {
				t.Errorf("NewPlan() without a state = %+v", p)
			}
		})
	}
}

func TestRangeErrorNamesTheClock(t *testing.T) {
	dest := youngHost()
	dest.Realtime = 250 * year
	_, err := clockstate.NewPlan(simpleTree(t, sourceHost()), dest, clockstate.PlanOptions{})
	var outside *clockstate.RangeError
	if !errors.As(err, &outside) {
		t.Fatalf("NewPlan() = %v", err)
	}
	if outside.Clock != clockstate.Boottime || outside.Namespace != 4026531834 || outside.Value <= clockstate.MaxReading || outside.Overflow {
		t.Errorf("%+v", outside)
	}
	for _, word := range []string{"CLOCK_BOOTTIME", "4026531834", outside.Value.String()} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %s", err, word)
		}
	}
}

// TestPlanAsJSON keeps the names that scripts rely on.
func TestPlanAsJSON(t *testing.T) {
	p := newPlan(t, simpleTree(t, sourceHost()), youngHost(), clockstate.PlanOptions{Policy: clockstate.Freeze})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"policy":"freeze"`, `"outage":{"duration_ns":`, `"source":"wall-clock"`, `"resume":{"monotonic_ns":`,
		`"offsets":{"monotonic_ns":`, `"clock":"CLOCK_BOOTTIME","forward_ns":200`, `"destination":{"monotonic_ns":100000000000`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if strings.Contains(string(text), `"State"`) || strings.Contains(string(text), `"tool_version"`) {
		t.Errorf("the state is printed with the plan: %s", text)
	}
}

// TestCoarseIsNotTakenTooLow: where the tick is unknown, the reading itself may
// say more than the worst lag does, since COARSE does not go back. It says so
// only if COARSE was surely read before the resume.
func TestCoarseIsNotTakenTooLow(t *testing.T) {
	dest := youngHost()
	dest.Tick = clockstate.Tick{}
	for _, tc := range []struct {
		name  string
		width clockstate.Nanos
		want  clockstate.Nanos
	}{
		{"exact reading", 0, dest.MonotonicCoarse},
		{"COARSE read after the resume, perhaps", 200, dest.Monotonic - clockstate.WorstCoarseLag},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dest.Width = tc.width
			p := newPlan(t, simpleTree(t, sourceHost()), dest, clockstate.PlanOptions{})
			if p.Resume.MonotonicCoarse != tc.want || p.Resume.Monotonic != dest.Monotonic {
				t.Errorf("the host is taken to read %+v, want COARSE at %v", p.Resume, tc.want)
			}
		})
	}
}
