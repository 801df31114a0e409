// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
)

// noticeable is what a program that reads its clocks ten thousand times a
// second can tell apart from running on.
const noticeable = 2 * time.Millisecond

// coarseStep is how far CLOCK_MONOTONIC_COARSE moves by itself at a time, at
// most: a tick of a kernel with HZ=100.
const coarseStep = 10 * time.Millisecond

// report is the whole picture in words and two tables.
func report(crtime, criu *subject) string {
	var b strings.Builder
	b.WriteString("A machine that is suspended and woken is the yardstick: CLOCK_MONOTONIC should\n" +
		"go on where it stopped, CLOCK_BOOTTIME should count the time away as well, and\n" +
		"no clock may ever go back.\n")
	for _, s := range []*subject{crtime, criu} {
		b.WriteString("\n" + s.table())
	}
	fmt.Fprintf(&b, "\nIn words: with crtime CLOCK_MONOTONIC moved by %s over the outage and CLOCK_BOOTTIME\n"+
		"is off by %s; with plain CRIU they moved by %s and are off by %s.\n",
		short(crtime.step.Advance(clocklog.Monotonic)), short(crtime.step.BoottimeError().Abs()),
		short(criu.step.Advance(clocklog.Monotonic)), short(criu.step.BoottimeError().Abs()))
	return b.String()
}

// table shows what the program read last before and first after the outage.
func (s *subject) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "With %s, away for %s by the wall clock:\n", s.name, short(s.step.Wall()))
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "  CLOCK\tBEFORE\tAFTER\tMOVED BY\t")
	for _, c := range clocklog.Shifted() {
		fmt.Fprintf(w, "  %v\t%s\t%s\t%s\t%s\n", c,
			seconds(s.step.Before.At[c]), seconds(s.step.After.At[c]), short(s.step.Advance(c)), s.verdict(c))
	}
	_ = w.Flush() // It writes to memory.
	return b.String()
}

// verdict says what a clock did.
func (s *subject) verdict(c clocklog.Clock) string {
	moved := s.step.Advance(c)
	switch {
	case moved < 0:
		return "WENT BACK"
	case c == clocklog.Boottime && s.step.BoottimeError().Abs() < noticeable:
		return "counted the time away, to within " + short(s.step.BoottimeError().Abs())
	case c == clocklog.Boottime:
		return "WRONG by " + short(s.step.BoottimeError().Abs())
	case moved < noticeable, c == clocklog.MonotonicCoarse && moved < coarseStep:
		return "went on where it stopped"
	default:
		return "jumped ahead by " + short(moved)
	}
}

// seconds shows a clock to the microsecond.
func seconds(ns int64) string {
	return fmt.Sprintf("%d.%06d s", ns/1e9, ns%1e9/1e3)
}

// short rounds to three or four digits.
func short(d time.Duration) string {
	for unit := time.Second; unit >= time.Microsecond; unit /= 1000 {
		if d.Abs() >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
