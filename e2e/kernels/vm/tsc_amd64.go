// SPDX-License-Identifier: Apache-2.0

package vm

import "time"

// ticks reads this processor's time stamp counter.
func ticks() int64

// tickRate measures how many thousand times a second the counter counts, to
// within a thousandth: a read takes well under a microsecond, but this program may
// be interrupted between the counter and the clock, so it takes the quickest of
// several reads of both.
func tickRate() int64 {
	type reading struct {
		count int64
		at    time.Time
	}
	read := func() reading {
		var best reading
		shortest := int64(1) << 62
		for range 20 {
			before, at, after := ticks(), time.Now(), ticks()
			if after-before < shortest {
				shortest, best = after-before, reading{before + (after-before)/2, at}
			}
		}
		return best
	}
	first := read()
	time.Sleep(100 * time.Millisecond)
	second := read()
	return (second.count - first.count) * int64(time.Millisecond) / second.at.Sub(first.at).Nanoseconds()
}
