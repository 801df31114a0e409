// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crtime/crtime/clockstate"
)

// readingsResult is a reading of the clocks in JSON.
type readingsResult struct {
	Monotonic       clockstate.Nanos `json:"monotonic_ns"`
	MonotonicRaw    clockstate.Nanos `json:"monotonic_raw_ns"`
	MonotonicCoarse clockstate.Nanos `json:"monotonic_coarse_ns"`
	Boottime        clockstate.Nanos `json:"boottime_ns"`
	Realtime        clockstate.Nanos `json:"realtime_ns,omitempty"`
}

// newReadingsResult combines the shifted clocks with the wall clock; 0: it was
// not read.
func newReadingsResult(r clockstate.Readings, realtime clockstate.Nanos) readingsResult {
	return readingsResult{r.Monotonic, r.MonotonicRaw, r.MonotonicCoarse, r.Boottime, realtime}
}

// count returns "1 process" or "3 processes".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return count(int(n), "byte", "bytes")
	}
	value, at := float64(n)/unit, 0
	for value >= unit && at < 3 {
		value /= unit
		at++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[at])
}

// roundTime is a time for people: three or four digits that count. Use
// Nanos.String where every nanosecond does.
func roundTime(n clockstate.Nanos) string {
	d := time.Duration(n)
	abs := d.Abs()
	for _, step := range []struct{ from, to time.Duration }{
		{time.Minute, time.Second},
		{10 * time.Second, 100 * time.Millisecond},
		{time.Second, time.Millisecond},
		{10 * time.Millisecond, 100 * time.Microsecond},
		{time.Millisecond, 10 * time.Microsecond},
		{10 * time.Microsecond, 100 * time.Nanosecond},
	} {
		if abs >= step.from {
			return d.Round(step.to).String()
		}
	}
	return d.String()
}

// daysText is a reading of a clock for people, "3d 04:05:06.007".
func daysText(n clockstate.Nanos) string {
	sign := ""
	if n < 0 {
		// The smallest Nanos has no positive counterpart; one nanosecond less
		// does not show.
		sign, n = "-", -max(n, -1<<63+1)
	}
	const second = clockstate.Nanos(time.Second)
	total := n / second
	text := fmt.Sprintf("%02d:%02d:%02d.%03d", total/3600%24, total/60%60, total%60, n%second/clockstate.Nanos(time.Millisecond))
	if days := total / 86400; days > 0 {
		text = fmt.Sprintf("%dd %s", days, text)
	}
	return sign + text
}

// signed is a difference for people, with its sign.
func signed(n clockstate.Nanos) string {
	if n > 0 {
		return "+" + roundTime(n)
	}
	return roundTime(n)
}

// wallText is a reading of CLOCK_REALTIME for people, in UTC; 0 is unknown.
func wallText(n clockstate.Nanos) string {
	if n == 0 {
		return "unknown"
	}
	return time.Unix(0, int64(n)).UTC().Format("2006-01-02 15:04:05.000 MST")
}

// table lays out rows in columns, each followed by two spaces.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		// Writing to a strings.Builder cannot fail.
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// yesNo is a truth for people.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}
