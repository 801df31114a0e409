// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// text writes a timer as the kernel does (show_timer of fs/proc/base.c).
func (t posix) text() string {
	kind := [...]string{"signal", "none", "thread"}[t.notify&^notifyThreadID]
	who, number := "pid", int32(4711)
	if t.notify&notifyThreadID != 0 {
		who, number = "tid", t.thread
	}
	return fmt.Sprintf("ID: %d\nsignal: %d/%016x\nnotify: %s/%s.%d\nClockID: %d\n", t.id, t.signal, t.value, kind, who, number, t.clock)
}

func TestParseTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Custom(func(t *rapid.T) posix {
			p := posix{
				id: rapid.Int32Range(0, math.MaxInt32).Draw(t, "id"), clock: clockID(rapid.Int32().Draw(t, "clock")),
				signal: rapid.Int32().Draw(t, "signal"), value: rapid.Uint64().Draw(t, "value"),
				notify: rapid.SampledFrom([]int32{notifySignal, notifyNone, notifyThread, notifyThreadID}).Draw(t, "notify"),
			}
			if p.notify == notifyThreadID {
				p.thread = rapid.Int32Range(1, 1<<22).Draw(t, "thread")
			}
			return p
		})).Draw(t, "timers")
		var b strings.Builder
		for _, one := range want {
			b.WriteString(one.text())
		}
		got, err := parseTimers(b.String())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		for _, one := range got {
			if again := posixOf(one.entry()); again != one {
				t.Errorf("%+v became %+v in the images", one, again)
			}
		}
	})
}

func TestParseTimersErrors(t *testing.T) {
	good := posix{id: 1, signal: 34, notify: notifySignal}.text()
	if _, err := parseTimers(good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"ID: 1", "ID: x"},
		{"ID: 1", "ID: 4294967296"},
		{"ID: 1\n", ""},
		{"signal: ", "signl: "},
		{"34/", "34"},
		{"signal/pid", "signal/uid"},
		{"signal/pid", "signals/pid"},
		{"signal/pid.4711", "signal/tid."},
		{"ClockID: 0", "ClockID: "},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%q is not there", change[0])
		}
		if list, err := parseTimers(text); err == nil {
			t.Errorf("%q: %+v and no error", text, list)
		}
	}
}

func FuzzParseTimers(f *testing.F) {
	f.Add(posix{id: 1, signal: 34, notify: notifyThreadID, thread: 7, clock: ownThread}.text())
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseTimers(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, one := range list {
			if one.notify == notifyThreadID|notifyNone || one.notify == notifyThreadID|notifyThread {
				return // The kernel has none; objection refuses them.
			}
			b.WriteString(one.text())
		}
		again, err := parseTimers(b.String())
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%v became %v, %v", list, again, err)
		}
	})
}

func TestParseTimerList(t *testing.T) {
	const text = `Timer List Version: v0.10
cpu: 0
 clock 0:
  .base:       000000001
  .index:      0
active timers:
 #0: <0000000012345678>, posix_timer_fn, S:01
 # expires at 1000-1000 nsecs [in 900 to 900 nsecs]
 clock 1:
  .base:       000000002
  .index:      1
active timers:
 #0: <0000000012345678>, hrtimer_wakeup, S:01
 # expires at 2000-2050 nsecs [in 1900 to 1950 nsecs]
 #1: <0000000012345678>, posix_timer_fn, S:01
 # expires at 3000-3000 nsecs [in 2900 to 2900 nsecs]
 clock 2:
  .index:      2
 #0: <0000000012345678>, posix_timer_fn, S:01
 # expires at 4000-4000 nsecs [in 3900 to 3900 nsecs]
cpu: 1
 clock 1:
  .index:      1
 #0: <0000000012345678>, posix_timer_fn, S:01
 # expires at 5000-5000 nsecs [in 4900 to 4900 nsecs]
`
	d, err := parseTimerList(strings.NewReader(text))
	if err != nil || len(d) != 2 || !d[3000] || !d[5000] {
		t.Errorf("%v, %v; want 3000 and 5000", d, err)
	}
	if !d.between(2999, 3000) || !d.between(3000, 3000) || d.between(3001, 4999) {
		t.Error("between is wrong about its bounds")
	}
	if _, err := parseTimerList(strings.NewReader(strings.Replace(text, "3000-", "3,000-", 1))); err == nil {
		t.Error("no error for a time that is no number")
	}
}

func TestClockID(t *testing.T) {
	for _, one := range []struct {
		clock  clockID
		owner  int32
		thread bool
		cpu    bool
		text   string
	}{
		{unix.CLOCK_MONOTONIC, 0, false, false, "CLOCK_MONOTONIC"},
		{unix.CLOCK_PROCESS_CPUTIME_ID, 0, false, true, "CLOCK_PROCESS_CPUTIME_ID"},
		{-6, 0, false, true, "CLOCK_PROCESS_CPUTIME_ID"},
		{unix.CLOCK_THREAD_CPUTIME_ID, 0, true, true, "CLOCK_THREAD_CPUTIME_ID"},
		{-2, 0, true, true, "CLOCK_THREAD_CPUTIME_ID"},
		{^4711<<3 | 2, 4711, false, true, "the CPU clock of process 4711"},
		{^4711<<3 | 4, 4711, true, true, "the CPU clock of thread 4711"},
		{^4711<<3 | 3, 0, false, false, fmt.Sprintf("clock %d", ^4711<<3|3)},
		{16, 0, false, false, "clock 16"},
	} {
		owner, thread, cpu := one.clock.cpu()
		if owner != one.owner || thread != one.thread || cpu != one.cpu {
			t.Errorf("clock %d: owner %d, thread %v, cpu %v", one.clock, owner, thread, cpu)
		}
		if got := one.clock.String(); got != one.text {
			t.Errorf("clock %d is %q, want %q", one.clock, got, one.text)
		}
	}
}
