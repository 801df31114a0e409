// SPDX-License-Identifier: Apache-2.0

package clocklog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Backward is a broken promise: a clock that read less than before.
type Backward struct {
	Clock Clock
	// Seq is the number of the record that read less.
	Seq int64
	// By is how much less, above 0.
	By time.Duration
}

// String says it in one line.
func (b Backward) String() string {
	return fmt.Sprintf("record %d: %v went back by %v", b.Seq, b.Clock, b.By)
}

// Backward returns each place where a clock that a time namespace shifts went
// back, in the order of the log.
func (l Log) Backward() []Backward {
	var found []Backward
	for i := 1; i < len(l.Records); i++ {
		s := Step{l.Records[i-1], l.Records[i]}
		for _, c := range Shifted() {
			if d := s.Advance(c); d < 0 {
				found = append(found, Backward{c, s.After.Seq, -d})
			}
		}
	}
	return found
}

// Complete returns an error if a record is missing, doubled or out of order:
// the program lost a turn of its loop, or what it printed got lost.
func (l Log) Complete() error {
	for i, r := range l.Records {
		if r.Seq != int64(i) {
			return fmt.Errorf("record %d of the log has the number %d", i, r.Seq)
		}
	}
	return nil
}

// Complaints returns the notes in which a program reports that something went
// wrong: a wait that ended early, a clock that one of its threads saw go back,
// a wrong count.
func (l Log) Complaints() []string {
	var found []string
	for _, note := range l.Notes {
		word, _, _ := strings.Cut(note, " ")
		if slices.Contains([]string{"early", "backward", "wrong"}, word) {
			found = append(found, note)
		}
	}
	return found
}

// Outages returns the n widest gaps of the log by the wall clock, in the order
// of the log: the steps over n dumps and restores.
//
// A freeze can fall between two records or into one. A record that it cut is
// no evidence (some of its clocks were read before, some after), so the step
// then goes from the record before to the one after it.
func (l Log) Outages(n int) ([]Step, error) {
	type gap struct {
		width         int64
		before, after int
	}
	var gaps []gap
	for i, r := range l.Records {
		if i > 0 && i+1 < len(l.Records) {
			gaps = append(gaps, gap{r.RealtimeEnd - r.At[Realtime], i - 1, i + 1})
		}
		if i > 0 {
			gaps = append(gaps, gap{r.At[Realtime] - l.Records[i-1].RealtimeEnd, i - 1, i})
		}
	}
	if len(gaps) < n {
		return nil, fmt.Errorf("a log of %d records cannot hold %d outages", len(l.Records), n)
	}
	slices.SortStableFunc(gaps, func(a, b gap) int { return cmp.Compare(b.width, a.width) })
	gaps = gaps[:n]
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(a.after, b.after) })
	steps := make([]Step, n)
	for i, g := range gaps {
		steps[i] = Step{l.Records[g.before], l.Records[g.after]}
	}
	return steps, nil
}
