// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

func TestParseOffsets(t *testing.T) {
	tests := []struct {
		name string
		text string
		want clockstate.Offsets
		bad  string
	}{
		{name: "kernel's own zero", text: "monotonic           0         0\nboottime            0         0\n"},
		{
			name: "forward", text: "monotonic 1000 5\nboottime 5000 999999999\n",
			want: clockstate.Offsets{Monotonic: 1000_000_000_005, Boottime: 5000_999_999_999},
		},
		{
			name: "nanoseconds count upward from negative seconds", text: "monotonic -2 954502961\nboottime -1 0\n",
			want: clockstate.Offsets{Monotonic: -1_045_497_039, Boottime: -1_000_000_000},
		},
		{
			name: "numbers for names", text: "7 2 0\n1 1 0",
			want: clockstate.Offsets{Monotonic: 1e9, Boottime: 2e9},
		},
		{name: "empty", text: "", bad: "want a line for"},
		{name: "one clock", text: "monotonic 1 0\n", bad: "want a line for"},
		{name: "a clock twice", text: "monotonic 1 0\n1 2 0\n", bad: "twice"},
		{name: "unknown clock", text: "realtime 1 0\nboottime 0 0\n", bad: "neither"},
		{name: "fourth field", text: "monotonic 5 0 boottime 6 0\n", bad: "want a clock, seconds"},
		{name: "missing field", text: "monotonic 5\n", bad: "want a clock, seconds"},
		{name: "empty line", text: "monotonic 1 0\n\nboottime 1 0\n", bad: "want a clock, seconds"},
		{name: "nanoseconds too large", text: "monotonic 1 1000000000\n", bad: "999999999"},
		{name: "nanoseconds negative", text: "monotonic 1 -1\n", bad: "999999999"},
		{name: "seconds beyond 64 bits", text: "monotonic 99999999999999999999 0\n", bad: "out of range"},
		{name: "seconds beyond Nanos", text: "monotonic 9999999999999 0\n", bad: "9999999999999"},
		{name: "very long", text: strings.Repeat("x", 10_000), bad: "want a clock, seconds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseOffsets(strings.NewReader(tt.text))
			if tt.bad != "" {
				if err == nil || !strings.Contains(err.Error(), tt.bad) {
					t.Fatalf("got %+v, %v; want an error with %q", got, err, tt.bad)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestFormatParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := clockstate.Offsets{
			Monotonic: clockstate.Nanos(rapid.Int64().Draw(t, "monotonic")),
			Boottime:  clockstate.Nanos(rapid.Int64().Draw(t, "boottime")),
		}
		got, err := ParseOffsets(strings.NewReader(formatOffsets(want)))
		if err != nil || got != want {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func FuzzParseOffsets(f *testing.F) {
	f.Add("monotonic           0         0\nboottime            0         0\n")
	f.Add("1 -2 954502961\n7 4611686018 999999999")
	f.Add("monotonic 1 0\nmonotonic 1 0\n")
	f.Add("boottime -9223372037 0\nmonotonic 9223372036 854775807\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOffsets(strings.NewReader(text))
		if err != nil {
			if o != (clockstate.Offsets{}) {
				t.Fatalf("value %+v beside the error %v", o, err)
			}
			return
		}
		again, err := ParseOffsets(strings.NewReader(formatOffsets(o)))
		if err != nil || again != o {
			t.Fatalf("%q gave %+v, which became %+v, %v", text, o, again, err)
		}
	})
}

func TestIDOfMissingProcess(t *testing.T) {
	// One above the kernel's largest pid.
	const nobody = 4_194_305
	if _, _, err := IDOf(nobody); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotSupported) {
		t.Errorf("IDOf: %v, want fs.ErrNotExist alone", err)
	}
	if _, err := OffsetsOf(nobody); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotSupported) {
		t.Errorf("OffsetsOf: %v, want fs.ErrNotExist alone", err)
	}
	if _, err := ReadOffsets(nobody); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotSupported) {
		t.Errorf("ReadOffsets: %v, want fs.ErrNotExist alone", err)
	}
	if _, err := Run(nobody, Command{Path: "/bin/true"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Run: %v, want fs.ErrNotExist", err)
	}
}

// The file of offsets shows the namespace for children. OffsetsOf must not take
// those for the process's own: here a thread lives at +50/+60 and its children
// would live at +300/+400.
func TestOffsetsOfUnsharedTask(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	own := clockstate.Offsets{Monotonic: 50e9, Boottime: 60e9}
	p, err := Start(helper(t, "unshared", in, w, os.Stderr), own)
	in.Close()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	tid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadOffsets(tid); err != nil || got.Monotonic != 300e9 || got.Boottime != 400e9 {
		t.Errorf("ReadOffsets: %+v, %v; want the children's, +300 s and +400 s", got, err)
	}
	if _, err := ownOffsets(tid); !errors.Is(err, ErrForChildren) {
		t.Errorf("ownOffsets: %v, want ErrForChildren", err)
	}
	if got, err := OffsetsOf(tid); err != nil || got != own {
		t.Errorf("OffsetsOf: %+v, %v; want %+v", got, err, own)
	}
	if got, err := OffsetsOf(p.PID); err != nil || got != own {
		t.Errorf("OffsetsOf the leader: %+v, %v; want %+v", got, err, own)
	}
}
