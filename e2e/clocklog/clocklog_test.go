// SPDX-License-Identifier: Apache-2.0

package clocklog

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = int64(time.Millisecond)

// record makes one whose shifted clocks all read clock.
func record(seq, real, clock int64) Record {
	return Record{
		Seq: seq, At: [clockCount]int64{real, clock, clock, clock, clock},
		Known:       [clockCount]bool{true, true, true, true, true},
		RealtimeEnd: real + 500,
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		records  int
		notes    int
		err      string
	}{
		{"empty", "", 0, 0, ""},
		{"one", "clk 0 1 2 3 4 5 6\n", 1, 0, ""},
		{"unknown clocks", "clk 0 1 2 - - - 6\n", 1, 0, ""},
		{"cut last line", "clk 0 1 2 3 4 5 6\nclk 1 1 2", 1, 0, ""},
		{"notes", "port 80\nclk 0 1 2 3 4 5 6\nearly x\n", 1, 2, ""},
		{"too short", "clk 0 1 2\n", 0, 0, "line 1"},
		{"no number", "clk x 1 2 3 4 5 6\n", 0, 0, "number"},
		{"no clock", "clk 0 1 2 3 4 x 6\n", 0, 0, "CLOCK_BOOTTIME"},
		{"no wall clock", "clk 0 - 2 3 4 5 6\n", 0, 0, "no CLOCK_REALTIME"},
		{"no end", "clk 0 1 2 3 4 5 -\n", 0, 0, "last CLOCK_REALTIME"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log, err := Parse(strings.NewReader(test.in))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(log.Records) != test.records || len(log.Notes) != test.notes {
				t.Errorf("%d records and %d notes, want %d and %d",
					len(log.Records), len(log.Notes), test.records, test.notes)
			}
		})
	}
}

func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Record{Seq: rapid.Int64().Draw(t, "seq"), RealtimeEnd: rapid.Int64().Draw(t, "end")}
		for c := range r.At {
			if r.Known[c] = Clock(c) == Realtime || rapid.Bool().Draw(t, "known"); r.Known[c] {
				r.At[c] = rapid.Int64().Draw(t, "at")
			}
		}
		log, err := ParseBytes([]byte(r.Line() + "\n"))
		if err != nil || len(log.Records) != 1 || log.Records[0] != r {
			t.Fatalf("got %+v, %v, want %+v", log.Records, err, r)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("clk 0 1 2 3 4 5 6\nnote\nclk 1 1 2 - - - 6\n"))
	f.Add([]byte("clk \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		log, err := ParseBytes(data)
		if err != nil {
			return
		}
		for _, r := range log.Records {
			again, err := ParseBytes([]byte(r.Line() + "\n"))
			if err != nil || again.Records[0] != r {
				t.Fatalf("%q does not read back: %v", r.Line(), err)
			}
		}
	})
}

func TestBackwardFindsEachClock(t *testing.T) {
	for _, c := range Shifted() {
		t.Run(c.String(), func(t *testing.T) {
			log := Log{Records: []Record{record(0, 0, 10*ms), record(1, ms, 11*ms), record(2, 2*ms, 12*ms)}}
			if found := log.Backward(); len(found) != 0 {
				t.Fatalf("found %v in a good log", found)
			}
			log.Records[2].At[c] = 11*ms - 1
			want := Backward{c, 2, 1}
			if found := log.Backward(); len(found) != 1 || found[0] != want {
				t.Errorf("found %v, want %v", found, want)
			}
		})
	}
}

func TestOutages(t *testing.T) {
	between := Log{Records: []Record{
		record(0, 0, 0), record(1, ms, ms), record(2, 501*ms, 2*ms), record(3, 502*ms, 3*ms),
	}}
	within := Log{Records: []Record{
		record(0, 0, 0), record(1, ms, ms), record(2, 2*ms, 2*ms), record(3, 502*ms, 3*ms),
	}}
	within.Records[2].RealtimeEnd = 501 * ms
	tests := []struct {
		name          string
		log           Log
		before, after int64
	}{{"between two records", between, 1, 2}, {"within a record", within, 1, 3}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			steps, err := test.log.Outages(1)
			if err != nil {
				t.Fatal(err)
			}
			if s := steps[0]; s.Before.Seq != test.before || s.After.Seq != test.after {
				t.Errorf("outage from record %d to %d, want %d to %d",
					s.Before.Seq, s.After.Seq, test.before, test.after)
			}
		})
	}
	if _, err := (Log{}).Outages(1); err == nil {
		t.Error("an empty log held an outage")
	}
}

// TestOutagesFindsWhatWasPut puts outages of any width above the noise at any
// places of a log, and wants them back with the advance that was put there.
func TestOutagesFindsWhatWasPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const records = 60
		places := rapid.SliceOfNDistinct(rapid.IntRange(1, records-2), 1, 5, rapid.ID[int]).Draw(t, "places")
		var real, clock int64
		var log Log
		want := map[int64]int64{}
		for i := range records {
			noise := rapid.Int64Range(ms/2, 20*ms).Draw(t, "noise")
			real, clock = real+noise, clock+noise
			for _, p := range places {
				if p == i {
					outage := rapid.Int64Range(100*ms, 100000*ms).Draw(t, "outage")
					real += outage
					want[int64(i)] = noise
				}
			}
			log.Records = append(log.Records, record(int64(i), real, clock))
		}
		steps, err := log.Outages(len(places))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			noise, ok := want[s.After.Seq]
			if !ok || s.Advance(Monotonic) != time.Duration(noise) {
				t.Fatalf("step to record %d advanced %v, want %v (%v)",
					s.After.Seq, s.Advance(Monotonic), time.Duration(noise), ok)
			}
		}
	})
}

func TestComplete(t *testing.T) {
	log := Log{Records: []Record{record(0, 0, 0), record(1, ms, ms)}}
	if err := log.Complete(); err != nil {
		t.Error(err)
	}
	log.Records = append(log.Records, record(3, 2*ms, 2*ms))
	if log.Complete() == nil {
		t.Error("a log without record 2 was complete")
	}
}

func TestComplaints(t *testing.T) {
	log := Log{Notes: []string{"port 80", "early sleep", "fired 3", "backward thread 1", "wrong 1 2"}}
	if got := log.Complaints(); len(got) != 3 {
		t.Errorf("got %q, want three", got)
	}
}

func TestParseBoard(t *testing.T) {
	data := make([]byte, BoardSize)
	if _, err := ParseBoard(data); !errors.Is(err, ErrNotReady) {
		t.Errorf("an empty board: %v, want ErrNotReady", err)
	}
	if _, err := ParseBoard(data[1:]); !errors.Is(err, ErrNotReady) {
		t.Errorf("a short board: %v, want ErrNotReady", err)
	}
	copy(data, "CRTBOARD")
	put := func(word int, v int64) { binary.LittleEndian.PutUint64(data[8*word:], uint64(v)) }
	put(2, 77)
	put(3+turnWords+int(Boottime), -5)
	put(3+3*turnWords+int(Monotonic), 100)
	put(3+4*turnWords+int(Monotonic), 350)
	b, err := ParseBoard(data)
	if err != nil {
		t.Fatal(err)
	}
	if b.Loops != 77 || b.Outage.Advance(Monotonic) != 250 || b.Resetting {
		t.Errorf("board %+v", b)
	}
	if found := b.Backward(); len(found) != 1 || found[0].Clock != Boottime || found[0].By != 5 {
		t.Errorf("backward %v, want BOOTTIME by 5 ns", found)
	}
}
