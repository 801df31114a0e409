// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSetToSpan looks at what the kernel shows of timers before and after.
func TestSetToSpan(t *testing.T) {
	for _, tt := range []struct {
		name           string
		left, interval time.Duration // From now.
		ticks          string
	}{
		{"ahead", time.Hour, 0, "0"},
		{"periodic", time.Hour, time.Minute, "0"},
		{"expired", -time.Second, 0, "1"},
		{"periods missed", -150 * time.Second, time.Minute, "3"},
		{"about to expire", 500 * time.Microsecond, 0, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
				t.Fatal(err)
			}
			due := now.Nano() + int64(tt.left)
			spec := unix.ItimerSpec{Value: unix.NsecToTimespec(due), Interval: unix.NsecToTimespec(int64(tt.interval))}
			if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
				t.Fatal(err)
			}
			awaitExpiry(t, fd, tt.left)
			if err := setToSpan(fd); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{"settime flags": "00", "ticks": tt.ticks} {
				if got := shown(t, fd, name); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
			checkDue(t, fd, due, int64(tt.interval))
		})
	}
}

// awaitExpiry waits until a timer that is due has expired: one in the past does so in the
// next interrupt.
func awaitExpiry(t *testing.T, fd int, left time.Duration) {
	t.Helper()
	for left < 0 && shown(t, fd, "ticks") == "0" {
		time.Sleep(time.Millisecond)
	}
}

// checkDue compares when a timer is to expire next.
func checkDue(t *testing.T, fd int, due, interval int64) {
	t.Helper()
	var now unix.Timespec
	var left unix.ItimerSpec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if err := unix.TimerfdGettime(fd, &left); err != nil {
		t.Fatal(err)
	}
	if left.Interval.Nano() != interval {
		t.Errorf("the period is %v", left.Interval)
	}
	if due -= now.Nano(); due <= 0 {
		if interval == 0 {
			if left.Value.Nano() != 0 {
				t.Errorf("it has expired, and still %v are left", left.Value)
			}
			return
		}
		due += (-due/interval + 1) * interval
	}
	const tolerance = int64(100 * time.Millisecond) // A busy machine's.
	if off := left.Value.Nano() - due; off < -tolerance || off > tolerance {
		t.Errorf("%d ns are left, want %d", left.Value.Nano(), due)
	}
}

// shown is a field of fdinfo.
func shown(t *testing.T, fd int, name string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("fdinfo has no %s", name)
	return ""
}
