// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
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
		{"dump, wall time", func(s Sample) time.Duration { return s.Dump }, false},
		{"  of it frozen", func(s Sample) time.Duration { return s.Frozen }, false},
		{"restore, wall time", func(s Sample) time.Duration { return s.Restore }, false},
		{"  without holding", func(s Sample) time.Duration { return s.Restore - s.Held }, true},
		{"  held at the gate", func(s Sample) time.Duration { return s.Held }, true},
		{"frozen to resumed", func(s Sample) time.Duration { return s.Away }, false},
		{"jump of MONOTONIC", func(s Sample) time.Duration { return s.Jump }, false},
		{"  late release", func(s Sample) time.Duration { return s.Late }, true},
		{"  before the record", func(s Sample) time.Duration { return s.Unrecorded }, true},
		{"  after the release", func(s Sample) time.Duration { return s.Release }, true},
		{"error of BOOTTIME", func(s Sample) time.Duration { return s.BoottimeError.Abs() }, false},
	}
}

// table shows median, tenth and ninetieth percentile of each figure, the tools
// below one another, and what belongs to each workload as a whole.
func (r report) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORK\tFIGURE\tTOOL\tMEDIAN\tP10\tP90\tMAX\tN")
	for group := range slices.Chunk(r.Results, r.tools) {
		for _, f := range figures() {
			for _, one := range group {
				if f.own && one.Tool == toolCRIU {
					continue
				}
				q := quantiles(one.Samples, f.of)
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", one.Work, f.name, one.Tool,
					micro(q.at(50)), micro(q.at(10)), micro(q.at(90)), micro(q.at(100)), len(q))
			}
		}
	}
	_ = w.Flush() // It writes to memory.
	for _, one := range r.Results {
		back, dump, restore := 0, int64(0), int64(0)
		for _, s := range one.Samples {
			back += s.Backward
			dump, restore = max(dump, s.DumpMemory), max(restore, s.RestoreMemory)
		}
		fmt.Fprintf(&b, "%s, %s: %d of %d shifted clocks went backward; at most %.1f MiB of memory for a dump, %.1f MiB for a restore.\n",
			one.Work, one.Tool, back, 4*len(one.Samples), mebibytes(dump), mebibytes(restore))
	}
	for _, work := range slices.Sorted(maps.Keys(r.Floors)) {
		f := r.Floors[work]
		fmt.Fprintf(&b, "%s: a plain copy by all cores takes %s into a tmpfs and %s out of it into fresh memory.\n",
			work, micro(f.into), micro(f.outOf))
	}
	return b.String()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// middle is the median of each way.
func middle(all []floor) floor {
	var into, outOf sorted
	for _, f := range all {
		into, outOf = append(into, f.into), append(outOf, f.outOf)
	}
	slices.Sort(into)
	slices.Sort(outOf)
	return floor{into.at(50), outOf.at(50)}
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
