// SPDX-License-Identifier: Apache-2.0

package files

import (
	"encoding/binary"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestStartAt compares with arithmetic that has no limits: a timer with a period
// fires next in its own phase, and has fired as often as it would have.
func TestStartAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Int64Min(0).Draw(t, "now")
		deadline := rapid.Int64().Draw(t, "deadline")
		interval := rapid.Int64Min(0).Draw(t, "interval")
		left, missed := startAt(deadline, now, interval)
		next := new(big.Int).Add(big.NewInt(now), big.NewInt(left))
		switch {
		case left < 1:
			t.Errorf("left is %d", left)
		case deadline > now:
			if missed != 0 || next.Cmp(big.NewInt(deadline)) != 0 {
				t.Errorf("got %d, %d", left, missed)
			}
		case interval == 0:
			if left != 1 || missed != 0 {
				t.Errorf("got %d, %d", left, missed)
			}
		default:
			want := new(big.Int).Mul(new(big.Int).SetUint64(missed), big.NewInt(interval))
			if want.Add(want, big.NewInt(deadline)); next.Cmp(want) != 0 || left > interval || missed == 0 {
				t.Errorf("got %d, %d: next at %v, in phase would be %v", left, missed, next, want)
			}
		}
	})
}

// anyProcess is a process that only has a number.
type anyProcess struct{ runner }

func (anyProcess) PID() int { return 1 }

// armed makes the timer of an entry and starts it; due, if it is not 0, says how
// far ahead of the present its deadline is.
func armed(t *testing.T, e *timerfd.TimerfdEntry, due time.Duration) int {
	t.Helper()
	r := &Rebuild{notes: notebook{}, process: anyProcess{}}
	if due != 0 {
		r.PlanTimers(func(_ int, one Timerfd) int64 {
			var now unix.Timespec
			if err := unix.ClockGettime(one.Timeline(), &now); err != nil {
				t.Fatal(err)
			}
			return now.Nano() + int64(due)
		})
	}
	file := &fdinfo.FileEntry{Type: fdinfo.FdTypes_TIMERFD.Enum(), Tfd: e}
	e.Flags = proto.Uint32(unix.O_NONBLOCK)
	fd, err := timerfdKind{}.open(r, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := (timerfdKind{}).arm(r, file, fd); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestArmTimers starts timers as they are after an outage, and reads what their
// programs would.
func TestArmTimers(t *testing.T) {
	const flagged = unix.TFD_TIMER_ABSTIME
	hour := proto.Uint64(3600)
	for name, test := range map[string]struct {
		entry *timerfd.TimerfdEntry
		due   time.Duration
		count uint64        // What read returns; 0: nothing.
		left  time.Duration // What is left then, up to a minute less.
	}{
		"running":                 {&timerfd.TimerfdEntry{Vsec: hour}, 0, 0, time.Hour},
		"running, read late":      {&timerfd.TimerfdEntry{Vsec: hour, Isec: hour, Ticks: proto.Uint64(3)}, 0, 3, time.Hour},
		"expired":                 {&timerfd.TimerfdEntry{Ticks: proto.Uint64(1)}, 0, 1, 0},
		"stopped with period":     {&timerfd.TimerfdEntry{Isec: hour}, 0, 0, 0},
		"expired with period":     {&timerfd.TimerfdEntry{Isec: hour, Ticks: proto.Uint64(1)}, 0, 1, time.Hour},
		"past":                    {&timerfd.TimerfdEntry{Vsec: hour}, -time.Hour, 1, 0},
		"past with period":        {&timerfd.TimerfdEntry{Vsec: hour, Isec: hour}, -3*time.Hour - 20*time.Minute, 4, 40 * time.Minute},
		"past and unread":         {&timerfd.TimerfdEntry{Vsec: hour, Isec: hour, Ticks: proto.Uint64(5)}, -20 * time.Minute, 6, 40 * time.Minute},
		"past with a long period": {&timerfd.TimerfdEntry{Vsec: hour, Isec: proto.Uint64(3e9)}, -time.Hour, 1, 3e9*time.Second - time.Hour},
	} {
		for _, clock := range []uint32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME} {
			for _, flags := range []uint32{0, flagged} {
				e := proto.CloneOf(test.entry)
				e.Clockid, e.SettimeFlags = proto.Uint32(clock), proto.Uint32(flags)
				if err := (timerfdKind{}).check(nil, &fdinfo.FileEntry{Tfd: e}); err != nil {
					t.Fatal(err)
				}
				fd := armed(t, e, test.due)
				if test.count > 0 { // What lies in the past takes the kernel a moment.
					if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != nil {
						t.Fatal(err)
					}
				}
				count := readCount(t, fd)
				var now unix.ItimerSpec
				if err := unix.TimerfdGettime(fd, &now); err != nil {
					t.Fatal(err)
				}
				left := time.Duration(now.Value.Nano())
				if count != test.count || left > test.left || left < test.left-time.Minute || left < 0 {
					t.Errorf("%s, clock %d, flags %d: read %d, %v left", name, clock, flags, count, left)
				}
				if want := timerInterval(e); now.Interval.Nano() != want {
					t.Errorf("%s: the period is %d, want %d", name, now.Interval.Nano(), want)
				}
			}
		}
	}
}

// readCount reads a timer without waiting; 0: it has not expired.
func readCount(t *testing.T, fd int) uint64 {
	t.Helper()
	var count [8]byte
	switch _, err := unix.Read(fd, count[:]); err {
	case nil:
		return binary.NativeEndian.Uint64(count[:])
	case unix.EAGAIN:
		return 0
	default:
		t.Fatal(err)
		return 0
	}
}

// TestTicksOfShortPeriods starts timers that fire while they are being started:
// none of the times may be lost.
func TestTicksOfShortPeriods(t *testing.T) {
	const period = 20 * time.Microsecond
	for range 2000 {
		e := &timerfd.TimerfdEntry{
			Clockid: proto.Uint32(unix.CLOCK_MONOTONIC), SettimeFlags: proto.Uint32(unix.TFD_TIMER_ABSTIME),
			Vnsec: proto.Uint64(1), Insec: proto.Uint64(uint64(period)),
		}
		var deadline int64
		r := &Rebuild{notes: notebook{}, process: anyProcess{}}
		r.PlanTimers(func(int, Timerfd) int64 {
			now, _ := timelineNow(e)
			deadline = now - int64(time.Millisecond)
			return deadline
		})
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		if err := (timerfdKind{}).arm(r, &fdinfo.FileEntry{Tfd: e}, fd); err != nil {
			t.Fatal(err)
		}
		checkTicks(t, e, fd, deadline)
		unix.Close(fd)
	}
}

// checkTicks reads a timer that was due at deadline, and every period from there, until it
// has counted all of them. A late interrupt of the kernel's counts when it comes, which
// takes long on an emulated machine; and on a busy one some periods to come have been
// counted in advance.
func checkTicks(t *testing.T, e *timerfd.TimerfdEntry, fd int, deadline int64) {
	t.Helper()
	period := time.Duration(timerInterval(e))
	count, end := uint64(0), time.Now().Add(time.Second)
	for {
		before, _ := timelineNow(e)
		count += readCount(t, fd)
		after, _ := timelineNow(e)
		least, most := uint64(before-deadline)/uint64(period)+1, uint64(after-deadline)/uint64(period)+1
		if least-1 <= count && count <= most {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("read %d, of %d to %d", count, least, most)
		}
		time.Sleep(10 * period)
	}
}

// TestTimeline tells which timers move when REALTIME is set.
func TestTimeline(t *testing.T) {
	for _, test := range []struct {
		clock      int32
		span, from int32 // Timelines of a timer that was set to a span, or to a point in time.
	}{
		{unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC},
		{unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME},
		{unix.CLOCK_BOOTTIME_ALARM, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME},
		{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME},
		{unix.CLOCK_REALTIME_ALARM, unix.CLOCK_REALTIME, unix.CLOCK_REALTIME},
	} {
		if got := (Timerfd{Clock: test.clock}).Timeline(); got != test.span {
			t.Errorf("clock %d, a span: got %d", test.clock, got)
		}
		if got := (Timerfd{Clock: test.clock, Absolute: true}).Timeline(); got != test.from {
			t.Errorf("clock %d, a point in time: got %d", test.clock, got)
		}
	}
}

// TestSinceFreeze takes timers back to an instant.
func TestSinceFreeze(t *testing.T) {
	for _, tt := range []struct {
		name                       string
		deadline, frozen, interval int64
		ticks                      uint64
		left                       int64
		expired                    uint64
	}{
		{"once", 150, 100, 0, 0, 50, 0},
		{"due at the freeze", 100, 100, 0, 0, 1, 0},
		{"in a period", 150, 100, 60, 3, 50, 0},
		{"one whole period", 160, 100, 60, 3, 60, 0},
		{"one expiry since", 161, 100, 60, 3, 1, 1},
		{"many", 1000, 100, 70, 20, 60, 12},
		{"first wait", 1000, 100, 70, 0, 900, 0},
		{"first wait is over", 1000, 100, 70, 2, 760, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if left, expired := sinceFreeze(tt.deadline, tt.frozen, tt.interval, tt.ticks); left != tt.left || expired != tt.expired {
				t.Errorf("got %d, %d, want %d, %d", left, expired, tt.left, tt.expired)
			}
		})
	}
}

// TestTimerWatch has timers expire after they were looked at: they come back with what
// was left of them, and what had expired before stays so.
func TestTimerWatch(t *testing.T) {
	const soon, period = 50 * time.Millisecond, 20 * time.Millisecond
	start := func(left, interval time.Duration) int {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		value := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left)), Interval: unix.NsecToTimespec(int64(interval))}
		if err := unix.TimerfdSettime(fd, 0, &value, nil); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	over := start(1, 0)
	time.Sleep(time.Millisecond)
	begun := time.Now()
	once, periodic := start(soon, 0), start(soon, period)
	pid := os.Getpid()
	watch := WatchTimers([]int{pid})
	watch.Look()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	passed := time.Since(begun)
	time.Sleep(2 * soon)
	c := &Collection{notes: notebook{}}
	var entries []*timerfd.TimerfdEntry
	for _, fd := range []int{over, once, periodic} {
		e, seen, err := readTimerfd(fd)
		if err != nil {
			t.Fatal(err)
		}
		found := foundTimer{entry: e, place: timerPlace{pid, fd}}
		if timerLeft(e) > 0 {
			found.deadline = seen + timerLeft(e)
		}
		note := noteOf[timerfds](c.notes)
		note.list = append(note.list, found)
		entries = append(entries, e)
	}
	c.CountTimersFrom(func(int32) int64 { return now.Nano() }, watch)
	if e := entries[0]; timerLeft(e) != 0 || e.GetTicks() != 1 {
		t.Errorf("the one that had expired: %v", e)
	}
	for _, e := range entries[1:] {
		left := time.Duration(timerLeft(e))
		if e.GetTicks() != 0 || left < soon-passed-time.Millisecond || left > soon+time.Millisecond {
			t.Errorf("%v: want no expiry, and %v left", e, soon-passed)
		}
	}
}
