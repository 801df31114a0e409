// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseWorkload(t *testing.T) {
	tests := []struct {
		in, args string
		bytes    int64
		bad      bool
	}{
		{"tiny", "", 0, false},
		{"100M", "-m 100", 100 << 20, false},
		{"1G", "-m 1024", 1 << 30, false},
		{"64G", "-m 65536", 64 << 30, false},
		{"64threads", "-t 64", 0, false},
		{"100processes", "-p 100", 0, false},
		{"500mappings", "-v 500", 0, false},
		{"200files", "-f 200", 0, false},
		{"65G", "", 0, true},
		{"0M", "", 0, true},
		{"", "", 0, true},
		{"100", "", 0, true},
		{"-1M", "", 0, true},
		{"xM", "", 0, true},
		{"3rings", "", 0, true},
	}
	for _, test := range tests {
		got, err := parseWorkload(test.in)
		if (err != nil) != test.bad || strings.Join(got.args, " ") != test.args || got.bytes != test.bytes {
			t.Errorf("parseWorkload(%q) = %+v, %v", test.in, got, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	o, err := parseOptions([]string{"-n", "3", "-work", "tiny,2M", "-tools", "criu,crtime", "-json"})
	if err != nil || o.rounds != 3 || len(o.work) != 2 || len(o.tools) != 2 || !o.json {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := parseOptions(nil); err != nil || len(o.work) != 7 || len(o.tools) != 3 {
		t.Errorf("by default: %+v, %v", o, err)
	}
	for _, bad := range []string{"-n=0", "-tools=docker", "-work=huge"} {
		if _, err := parseOptions([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
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
	r := report{
		tools: 2,
		Results: []Result{
			{"100M", toolCRIU, []Sample{{Jump: 8 * time.Millisecond}}},
			{"100M", toolNative, []Sample{{
				Jump: 100 * time.Microsecond, Held: 3 * time.Millisecond, Backward: 1, DumpMemory: 3 << 20,
			}}},
		},
		Floors: map[string]floor{"100M": {into: 30 * time.Millisecond, outOf: 70 * time.Millisecond}},
	}
	got := r.table()
	for _, want := range []string{
		"8.000 ms", "0.100 ms", "100M, crtime: 1 of 4 shifted clocks", "held at the gate", "3.0 MiB",
		"30.000 ms into a tmpfs and 70.000 ms out",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the table:\n%s", want, got)
		}
	}
}

func TestFloor(t *testing.T) {
	f, err := measureFloor(t.TempDir(), 3<<20)
	if err != nil || f.into <= 0 || f.outOf <= 0 {
		t.Errorf("got %+v, %v", f, err)
	}
}
