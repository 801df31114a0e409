// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/timens"
)

// helperVariable tells the test binary to print a reading instead.
const helperVariable = "CRTIME_HOSTCLOCK_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "" {
		os.Exit(m.Run())
	}
	if err := printReading(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shifted is what a process inside a time namespace finds.
type shifted struct {
	Reading clockstate.HostReading
	Tick    clockstate.Tick
	Waited  clockstate.HostReading
	Target  clockstate.Nanos
}

func printReading() error {
	r, err := NewReader()
	if err != nil {
		return err
	}
	var out shifted
	if out.Reading, err = r.Read(); err != nil {
		return err
	}
	ctx := context.Background()
	if out.Tick, err = r.SampleTick(ctx); err != nil {
		return err
	}
	out.Target = out.Tick.Edge + 30_000_000
	if err := r.WaitUntil(ctx, out.Target); err != nil {
		return err
	}
	if out.Waited, err = r.Read(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func newReader(t testing.TB) *Reader {
	t.Helper()
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t testing.TB, r *Reader) clockstate.HostReading {
	t.Helper()
	h, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReadBelongsTogether(t *testing.T) {
	r := newReader(t)
	before := read(t, r)
	for range 1000 {
		h := read(t, r)
		if h.Width <= 0 {
			t.Fatalf("width %v", h.Width)
		}
		if h.MonotonicCoarse > h.Monotonic {
			t.Fatalf("COARSE %v is ahead of MONOTONIC %v", h.MonotonicCoarse, h.Monotonic)
		}
		pairs := map[string][2]clockstate.Nanos{
			"MONOTONIC": {before.Monotonic, h.Monotonic}, "RAW": {before.MonotonicRaw, h.MonotonicRaw},
			"COARSE": {before.MonotonicCoarse, h.MonotonicCoarse}, "BOOTTIME": {before.Boottime, h.Boottime},
		}
		for name, p := range pairs {
			if p[1] < p[0] {
				t.Fatalf("%s went from %v to %v", name, p[0], p[1])
			}
		}
		// The kernel keeps BOOTTIME - MONOTONIC constant unless it suspends, so
		// what changes is how far apart they were read.
		if drift := (h.Boottime - h.Monotonic) - (before.Boottime - before.Monotonic); drift > before.Width || drift < -h.Width {
			t.Fatalf("BOOTTIME - MONOTONIC moved by %v; widths %v and %v", drift, before.Width, h.Width)
		}
		before = h
	}
}

func TestReadWallClock(t *testing.T) {
	h := read(t, newReader(t))
	if behind := time.Now().UnixNano() - int64(h.Realtime); behind < 0 || behind > int64(10*time.Second) {
		t.Errorf("REALTIME %v is %d ns behind", h.Realtime, behind)
	}
	if diff := h.TAI - h.Realtime - clockstate.Nanos(h.WallClock.TAIOffset)*1e9; diff < 0 || diff > h.Width {
		t.Errorf("TAI - REALTIME is off by %v from the kernel's %d s", diff, h.WallClock.TAIOffset)
	}
	if !h.WallClock.Known || h.WallClock.Synchronised && h.WallClock.MaxError <= 0 {
		t.Errorf("wall clock %+v", h.WallClock)
	}
	if len(h.BootID) != 36 {
		t.Errorf("boot id %q", h.BootID)
	}
}

// From inside a time namespace the host's clocks read the same, and waiting on
// them works.
func TestInsideTimeNamespace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r := newReader(t)
	before := read(t, r)
	p, err := timens.Start(timens.Command{
		Path: self, Env: append(os.Environ(), helperVariable+"=1"), Files: []*os.File{nil, w, os.Stderr},
	}, clockstate.Offsets{Monotonic: 1000e9, Boottime: 5000e9})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if _, waitErr := p.Wait(); err != nil || waitErr != nil {
		t.Fatal(err, waitErr)
	}
	after := read(t, r)
	var got shifted
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	inside := got.Reading
	for name, v := range map[string][3]clockstate.Nanos{
		"MONOTONIC": {before.Monotonic, inside.Monotonic, after.Monotonic}, "RAW": {before.MonotonicRaw, inside.MonotonicRaw, after.MonotonicRaw},
		"COARSE": {before.MonotonicCoarse, inside.MonotonicCoarse, after.MonotonicCoarse}, "BOOTTIME": {before.Boottime, inside.Boottime, after.Boottime},
		"the tick's edge": {before.Monotonic, got.Tick.Edge, after.Monotonic}, "the wait": {got.Target, got.Waited.Monotonic, after.Monotonic},
	} {
		if v[1] < v[0] || v[1] > v[2] {
			t.Errorf("%s inside is %v, not within %v and %v", name, v[1], v[0], v[2])
		}
	}
}

func TestSampleTick(t *testing.T) {
	r := newReader(t)
	start := read(t, r)
	tick, err := r.SampleTick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := read(t, r)
	t.Logf("%+v, took %v", tick, end.Monotonic-start.Monotonic)
	if tick == (clockstate.Tick{}) {
		t.Fatal("no tick within 25 ms, while this processor is busy")
	}
	if tick.Edge < start.Monotonic || tick.Edge > end.Monotonic || tick.Period < 1e6 || tick.Period > 10e6 || tick.Lag < 0 || tick.Lag > 2*tick.Period {
		t.Errorf("%+v between %v and %v", tick, start.Monotonic, end.Monotonic)
	}
}

func TestSampleTickCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tick, err := newReader(t).SampleTick(ctx); !errors.Is(err, context.Canceled) && tick == (clockstate.Tick{}) {
		t.Errorf("got %+v, %v", tick, err)
	}
}

// TestWatchTick checks that the tick seen from afar, and the closer look at the
// next one, agree with what spinning finds.
func TestWatchTick(t *testing.T) {
	r := newReader(t)
	w := r.WatchTick(t.Context())
	defer w.Stop()
	first, err := w.Tick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-w.done
	second, err := w.Tick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spun, err := r.SampleTick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("from afar %+v, closely %+v, spinning %+v", first, second, spun)
	if first.Edge == 0 || second.Edge < first.Edge || second.Lag > first.Lag {
		t.Errorf("from afar %+v, then closely %+v", first, second)
	}
	for _, tick := range []clockstate.Tick{first, second} {
		if tick.Period != spun.Period || tick.Lag < 0 || tick.Lag > 2*tick.Period {
			t.Errorf("%+v, while spinning found %+v", tick, spun)
		}
	}
}

func TestWatchTickStopped(t *testing.T) {
	r := newReader(t)
	w := r.WatchTick(t.Context())
	w.Stop()
	w.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Whatever was seen until then, it does not block.
	if _, err := w.Tick(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWaitUntil(t *testing.T) {
	r := newReader(t)
	var late []clockstate.Nanos
	for _, d := range []clockstate.Nanos{-5e9, 0, 1, 1000, 100_000, 250_000, 1e6, 2_900_000, 3_100_000, 5e6, 20e6} {
		for range 10 {
			at := read(t, r).Monotonic + d
			if err := r.WaitUntil(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			// Not Read, which takes longer than the wait is late.
			now, err := monotonic()
			if err != nil {
				t.Fatal(err)
			}
			l := now - r.own.Monotonic - at
			if l < 0 {
				t.Fatalf("%v early after waiting %v", -l, d)
			}
			if d >= 100_000 {
				late = append(late, l)
			}
		}
	}
	slices.Sort(late)
	t.Logf("late: least %v, median %v, p90 %v, most %v", late[0], late[len(late)/2], late[len(late)*9/10], late[len(late)-1])
}

func TestWaitUntilCancelled(t *testing.T) {
	r := newReader(t)
	cause := errors.New("no more")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(cause)
	err := r.WaitUntil(ctx, read(t, r).Monotonic+3600e9)
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if err := r.WaitUntil(ctx, read(t, r).Monotonic+1000); !errors.Is(err, cause) {
		t.Errorf("already cancelled: got %v, want %v", err, cause)
	}
}

func TestWaitUntilOverflow(t *testing.T) {
	r := newReader(t)
	r.own.Monotonic = 1e9
	if err := r.WaitUntil(t.Context(), 1<<63-1); !errors.Is(err, clockstate.ErrOverflow) {
		t.Errorf("got %v, want ErrOverflow", err)
	}
}

func TestIdentity(t *testing.T) {
	h, err := Identity()
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	want := clockstate.Host{BootID: read(t, newReader(t)).BootID, Hostname: name, KernelRelease: unix.ByteSliceToString(u.Release[:])}
	if h != want {
		t.Errorf("got %+v, want %+v", h, want)
	}
}

func BenchmarkRead(b *testing.B) {
	r := newReader(b)
	b.ReportAllocs()
	var width clockstate.Nanos
	n := 0
	for b.Loop() {
		width += read(b, r).Width
		n++
	}
	b.ReportMetric(float64(width)/float64(n), "ns-width")
}
