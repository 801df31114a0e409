// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

func TestTimelineGolden(t *testing.T) {
	for _, p := range clockstate.Policies() {
		tl := newTimeline(plannedRestore(t, p))
		golden(t, "timeline-"+p.String()+".txt", tl.draw(80, drawingSet(true)))
	}
	golden(t, "timeline-ascii.txt", newTimeline(plannedRestore(t, clockstate.Suspend)).draw(80, drawingSet(false)))
}

func TestTimelineDescribesTheRootsNamespace(t *testing.T) {
	tl := newTimeline(plannedRestore(t, clockstate.Suspend))
	if want := "server (process 4711)"; tl.Root != want {
		t.Errorf("Root = %q, want %q", tl.Root, want)
	}
	if got, want := tl.Lanes[0].Before, 93_784*second+5*millisecond; got != want {
		t.Errorf("MONOTONIC before = %v, want %v", got, want)
	}
	if got := tl.Lanes[1].After - tl.Lanes[1].Before; got < 7384*second || got > 7385*second {
		t.Errorf("BOOTTIME moved by %v, want about 2h3m4s", got)
	}
}

func TestTimelineAlwaysFits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		columns := rapid.IntRange(0, 300).Draw(rt, "columns")
		reading := rapid.Int64Range(0, int64(clockstate.MaxReading))
		draw := func(name string) clockstate.Nanos { return clockstate.Nanos(reading.Draw(rt, name)) }
		tl := timeline{
			Freeze: draw("freeze"), Resume: draw("resume"),
			Outage: clockstate.Outage{
				Duration: draw("outage"),
				Source:   rapid.SampledFrom([]clockstate.OutageSource{clockstate.OutageUnknown, clockstate.SameBoot}).Draw(rt, "source"),
			},
			Lanes: []lane{{"MONOTONIC", draw("mono"), draw("mono later")}, {"BOOTTIME", draw("boot"), draw("boot later")}},
		}
		limit := min(max(columns, narrowest), widest)
		if columns == 0 {
			limit = usual
		}
		drawing, _, _ := strings.Cut(tl.draw(columns, drawingSet(true)), "\n\n")
		for line := range strings.SplitSeq(drawing, "\n") {
			if width(line) > limit {
				rt.Fatalf("%d columns, limit %d: %q", width(line), limit, line)
			}
		}
	})
}

func TestTimelineWithoutKnownTimes(t *testing.T) {
	tl := timeline{Lanes: []lane{{"MONOTONIC", 0, 0}, {"BOOTTIME", math.MinInt64, 0}}}
	text := tl.draw(0, drawingSet(false))
	for _, want := range []string{"unknown", "stands still"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
