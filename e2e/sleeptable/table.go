// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/sleeplog"
)

// good is how far from the ideal an end may be and still be right.
const good = time.Millisecond

// String shows the table, and how many rows are right.
func (t *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Dumped after 1s, gone for %v, due after %v.\n\n", t.outage, t.limit)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SLEEP\tCLOCK\tCRIU\tOFF BY\tCRTIME\tOFF BY\tUNDISTURBED")
	rightCRIU, rightCrtime := 0, 0
	for _, want := range t.undisturbed.Ends {
		criu, crtime := t.judge(t.criu, want), t.judge(t.crtime, want)
		if criu.right {
			rightCRIU++
		}
		if crtime.right {
			rightCrtime++
		}
		plain := time.Duration(want.Woken-want.Begun).Round(time.Microsecond) - t.limit
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%v\t%v\n", want.Name, clockName(want.Clock),
			criu.saw, criu.off, crtime.saw, crtime.off, plain.Round(time.Microsecond))
	}
	_ = w.Flush() // It writes to memory.
	fmt.Fprintf(&b, "\nRight within %v (or as late as undisturbed): CRIU %d, crtime %d of %d.\n\n",
		good, rightCRIU, rightCrtime, len(t.undisturbed.Ends))
	return b.String()
}

// verdict is what became of one sleep.
type verdict struct {
	saw   string
	off   time.Duration
	right bool
}

// judge compares the end of a sleep with that of one which was not disturbed.
func (t *table) judge(o sleeplog.Log, want sleeplog.End) verdict {
	for _, e := range o.Ends {
		if e.Name != want.Name {
			continue
		}
		v := verdict{saw: "as ever", off: off(o, e, t.limit).Round(time.Microsecond)}
		switch {
		case e.Errno != want.Errno:
			v.saw = unix.ErrnoName(e.Errno)
		case e.Result != want.Result:
			v.saw = fmt.Sprintf("result %d", e.Result)
		}
		// What the kernel allows itself of any sleep is nobody's fault.
		allowed := good + max(0, time.Duration(want.Woken-want.Begun)-t.limit)
		v.right = v.saw == "as ever" && v.off > -good && v.off < allowed
		return v
	}
	return verdict{saw: "never woke"}
}

// clockName is what a clock is called.
func clockName(clock int) string {
	switch clock {
	case unix.CLOCK_MONOTONIC:
		return "MONOTONIC"
	case unix.CLOCK_BOOTTIME:
		return "BOOTTIME"
	case unix.CLOCK_REALTIME:
		return "REALTIME"
	case unix.CLOCK_TAI:
		return "TAI"
	default:
		return fmt.Sprint(clock)
	}
}
