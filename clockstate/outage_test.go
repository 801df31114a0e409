// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/crtime/crtime/clockstate"
)

func TestMeasureOutage(t *testing.T) {
	src := sourceHost()
	// later is the source's host 70 s later, 60 s of which it was suspended.
	later := src
	later.Monotonic += 10 * second
	later.Boottime += 70 * second
	later.Realtime += 90 * second // Somebody set the clock meanwhile.
	later.Width = 300
	// other is another host, 70 s later by good clocks.
	other := later
	other.BootID = "22222222-bbbb-4000-8000-000000000002"
	other.Boottime = 5 * second
	other.Realtime = src.Realtime + 70*second
	other.WallClock.MaxError = 30 * millisecond
	link := &clockstate.LinkMeasurement{Offset: other.Boottime - src.Boottime - 70*second, HalfRoundTrip: 400_000}

	type input struct {
		src, dest clockstate.HostReading
		link      *clockstate.LinkMeasurement
	}
	for _, tc := range []struct {
		name   string
		change func(in *input)
		want   clockstate.Outage
		note   string
		err    error
	}{
		{
			name:   "same boot counts suspends and ignores the wall clock",
			change: func(in *input) { in.dest = later },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.SameBoot, Error: 500, Bounded: true},
		},
		{
			name:   "same boot is better than a link",
			change: func(in *input) { in.dest, in.link = later, link },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.SameBoot, Error: 500, Bounded: true},
		},
		{
			name:   "same boot, earlier by less than the readings can tell",
			change: func(in *input) { in.dest = in.src; in.dest.Boottime -= 400 },
			want:   clockstate.Outage{Measured: -400, Source: clockstate.SameBoot, Error: 400, Bounded: true},
		},
		{
			name:   "same boot, earlier",
			change: func(in *input) { in.dest = in.src; in.dest.Boottime -= 401 },
			err:    clockstate.ErrFuture,
		},
		{
			name:   "unknown boots are not the same",
			change: func(in *input) { in.src.BootID, in.dest.BootID = "", "" },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource, Error: 50*millisecond + 500, Bounded: true},
		},
		{
			name:   "link",
			change: func(in *input) { in.link = link },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.Link, Error: 400_500, Bounded: true},
		},
		{
			name: "link with a negative round trip",
			change: func(in *input) {
				in.link = &clockstate.LinkMeasurement{HalfRoundTrip: -1}
			},
			err: clockstate.ErrInvalid,
		},
		{
			name: "link out of range",
			change: func(in *input) {
				in.link = &clockstate.LinkMeasurement{Offset: -1 << 63}
			},
			err: clockstate.ErrOverflow,
		},
		{
			name:   "wall clocks",
			change: func(*input) {},
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource, Error: 50*millisecond + 500, Bounded: true},
		},
		{
			name:   "a leap second in between",
			change: func(in *input) { in.dest.WallClock.TAIOffset++; in.dest.Realtime -= second },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource, Error: 50*millisecond + 500, Bounded: true},
		},
		{
			name:   "a TAI offset that nobody set",
			change: func(in *input) { in.dest.WallClock.TAIOffset = 0 },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource, Error: 50*millisecond + 500, Bounded: true},
		},
		{
			name:   "destination's wall clock behind",
			change: func(in *input) { in.dest.Realtime = in.src.Realtime - 5*second },
			want:   clockstate.Outage{Measured: -5 * second, Source: clockstate.WallClockSource, Error: 50*millisecond + 500, Bounded: true},
		},
		{
			name:   "source not synchronised",
			change: func(in *input) { in.src.WallClock.Synchronised = false },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource},
			note:   "was not synchronised at the freeze",
		},
		{
			name:   "destination not asked",
			change: func(in *input) { in.dest.WallClock.Known = false },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource},
			note:   "this host's wall clock is not synchronised",
		},
		{
			name:   "neither synchronised",
			change: func(in *input) { in.src.WallClock, in.dest.WallClock = clockstate.WallClock{}, clockstate.WallClock{} },
			want:   clockstate.Outage{Duration: 70 * second, Measured: 70 * second, Source: clockstate.WallClockSource},
			note:   "neither",
		},
		{name: "no wall clock recorded", change: func(in *input) { in.src.Realtime = 0 }, err: clockstate.ErrNotRecorded},
		{name: "no wall clock here", change: func(in *input) { in.dest.Realtime = 0 }, err: clockstate.ErrNotRecorded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input{src: src, dest: other}
			tc.change(&in)
			got, err := clockstate.MeasureOutage(tree(t, in.src), in.dest, in.link)
			if !errors.Is(err, tc.err) {
				t.Fatalf("MeasureOutage() = %+v, %v, want %v", got, err, tc.err)
			}
			if (tc.note == "") != (got.Note == "") || !strings.Contains(got.Note, tc.note) {
				t.Errorf("note %q, want %q", got.Note, tc.note)
			}
			if got.Note = ""; got != tc.want {
				t.Errorf("MeasureOutage() = %+v, want %+v", got, tc.want)
			}
		})
	}
}
