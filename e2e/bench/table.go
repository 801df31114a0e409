// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one line of the table.
type figure struct {
	name string
	of   func(Sample) time.Duration
	// own tells that only crtime has it.
	own bool
}

func figures() []figure {
	return []figure{
		{"jump of MONOTONIC", func(s Sample) time.Duration { return s.Jump }, false},
		{"error of BOOTTIME", func(s Sample) time.Duration { return s.BoottimeError.Abs() }, false},
		{"dump, wall time", func(s Sample) time.Duration { return s.Dump }, false},
		{"  of it frozen", func(s Sample) time.Duration { return s.Frozen }, false},
		{"restore, wall time", func(s Sample) time.Duration { return s.Restore }, false},
		{"  without holding", func(s Sample) time.Duration { return s.Restore - s.Held }, true},
		{"  held at the gate", func(s Sample) time.Duration { return s.Held }, true},
		{"jump: late release", func(s Sample) time.Duration { return s.Late }, true},
		{"jump: before the record", func(s Sample) time.Duration { return s.Unrecorded }, true},
		{"jump: after the release", func(s Sample) time.Duration { return s.Release }, true},
	}
}

// table shows median, tenth and ninetieth percentile of each figure.
func table(results []Result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SIZE\tFIGURE\tTOOL\tMEDIAN\tP10\tP90\tMAX\tN")
	for _, f := range figures() {
		for _, r := range results {
			if f.own && r.Samples[0].Late == 0 && r.Samples[0].Held == 0 {
				continue
			}
			q := quantiles(r.Samples, f.of)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", r.Size, f.name, r.Tool,
				micro(q.at(50)), micro(q.at(10)), micro(q.at(90)), micro(q.at(100)), len(q))
		}
	}
	_ = w.Flush() // It writes to memory.
	for _, r := range results {
		back := 0
		for _, s := range r.Samples {
			back += s.Backward
		}
		fmt.Fprintf(&b, "%s, %s: %d of %d shifted clocks went backward.\n", r.Size, r.Tool, back, 4*len(r.Samples))
	}
	return b.String()
}

// sorted are durations in ascending order.
type sorted []time.Duration

func quantiles(samples []Sample, of func(Sample) time.Duration) sorted {
	q := make(sorted, len(samples))
	for i, s := range samples {
		q[i] = of(s)
	}
	slices.SortFunc(q, cmp.Compare[time.Duration])
	return q
}

// at returns the given percentile by the nearest rank; that of 50 of an even
// number is the mean of the two in the middle.
func (q sorted) at(percent int) time.Duration {
	if len(q) == 0 {
		return 0
	}
	if percent == 50 && len(q)%2 == 0 {
		return (q[len(q)/2-1] + q[len(q)/2]) / 2
	}
	rank := (percent*len(q) + 99) / 100
	return q[max(rank, 1)-1]
}

// micro shows a duration in milliseconds to the microsecond.
func micro(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
}
