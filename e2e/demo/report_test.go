// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
)

// subjectWith makes one that was away for three seconds.
func subjectWith(name string, moved map[clocklog.Clock]time.Duration) *subject {
	s := &subject{name: name}
	s.step.After.At[clocklog.Realtime] = int64(3 * time.Second)
	s.step.After.RealtimeEnd = int64(3 * time.Second)
	for c := range s.step.Before.Known {
		s.step.Before.Known[c], s.step.After.Known[c] = true, true
	}
	for c, d := range moved {
		s.step.After.At[c] = int64(d)
	}
	return s
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		clock clocklog.Clock
		moved time.Duration
		want  string
	}{
		{clocklog.Monotonic, 300 * time.Microsecond, "went on where it stopped"},
		{clocklog.Monotonic, 14200 * time.Microsecond, "jumped ahead by 14.2ms"},
		{clocklog.MonotonicRaw, -time.Millisecond, "WENT BACK"},
		{clocklog.Boottime, 3*time.Second + 250, "counted the time away, to within 250ns"},
		{clocklog.Boottime, 10 * time.Millisecond, "WRONG by 2.99s"},
	}
	for _, test := range tests {
		s := subjectWith("x", map[clocklog.Clock]time.Duration{test.clock: test.moved})
		if got := s.verdict(test.clock); got != test.want {
			t.Errorf("%v moved by %v: %q, want %q", test.clock, test.moved, got, test.want)
		}
	}
}

func TestReportNamesBoth(t *testing.T) {
	got := report(subjectWith("crtime", nil), subjectWith("plain CRIU", nil))
	for _, want := range []string{"With crtime, away for 3s", "With plain CRIU", "CLOCK_MONOTONIC_COARSE"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the report:\n%s", want, got)
		}
	}
}
