// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int
		bad  bool
	}{
		{"tiny", 0, false},
		{"100M", 100, false},
		{"1G", 1024, false},
		{"64G", 65536, false},
		{"65G", 0, true},
		{"0M", 0, true},
		{"", 0, true},
		{"100", 0, true},
		{"-1M", 0, true},
		{"xM", 0, true},
	}
	for _, test := range tests {
		got, err := parseSize(test.in)
		if (err != nil) != test.bad || got.megabytes != test.want {
			t.Errorf("parseSize(%q) = %v, %v", test.in, got, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	o, err := parseOptions([]string{"-n", "3", "-sizes", "tiny,2M", "-json"})
	if err != nil || o.rounds != 3 || len(o.sizes) != 2 || !o.json {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := parseOptions([]string{"-n", "0"}); err == nil {
		t.Error("no rounds were accepted")
	}
}

func TestQuantiles(t *testing.T) {
	tests := []struct {
		name          string
		in            sorted
		p10, p50, p90 time.Duration
	}{
		{"none", nil, 0, 0, 0},
		{"one", sorted{7}, 7, 7, 7},
		{"even", sorted{1, 2, 4, 8}, 1, 3, 8},
		{"ten", sorted{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 1, 5, 9},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if a, b, c := test.in.at(10), test.in.at(50), test.in.at(90); a != test.p10 || b != test.p50 || c != test.p90 {
				t.Errorf("got %d, %d, %d, want %d, %d, %d", a, b, c, test.p10, test.p50, test.p90)
			}
		})
	}
}

func TestTable(t *testing.T) {
	results := []Result{
		{"tiny", "CRIU alone", []Sample{{Jump: 8 * time.Millisecond}}},
		{"tiny", "crtime", []Sample{{Jump: 100 * time.Microsecond, Held: time.Millisecond, Backward: 1}}},
	}
	got := table(results)
	for _, want := range []string{"8.000 ms", "0.100 ms", "tiny, crtime: 1 of 4 shifted clocks", "held at the gate"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the table:\n%s", want, got)
		}
	}
}
