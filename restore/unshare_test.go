// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/timens"
)

// helperVariable tells the test binary to print its clocks instead.
const helperVariable = "CRTIME_RESTORE_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "" {
		os.Exit(m.Run())
	}
	own, err := ownClocks()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(own)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ownClocks reads what a program in this namespace reads. BOOTTIME comes last: what
// passes in between can only hide that it is too close to MONOTONIC, not feign it.
func ownClocks() (r clockstate.Readings, err error) {
	for _, c := range []struct {
		clock int32
		to    *clockstate.Nanos
	}{
		{unix.CLOCK_MONOTONIC, &r.Monotonic},
		{unix.CLOCK_MONOTONIC_RAW, &r.MonotonicRaw},
		{unix.CLOCK_MONOTONIC_COARSE, &r.MonotonicCoarse},
		{unix.CLOCK_BOOTTIME, &r.Boottime},
	} {
		var ts unix.Timespec
		if err := unix.ClockGettime(c.clock, &ts); err != nil {
			return r, fmt.Errorf("read clock %d: %w", c.clock, err)
		}
		*c.to = clockstate.Nanos(ts.Nano())
	}
	return r, nil
}

func TestWholeSeconds(t *testing.T) {
	const second = clockstate.Nanos(1e9)
	tests := []struct {
		name       string
		mono, boot clockstate.Nanos
		want       Unshared
	}{
		{"none", 0, 0, Unshared{}},
		{"whole", 3 * second, -2 * second, Unshared{Monotonic: 3, Boottime: -2}},
		{"up", second + 1, second, Unshared{2, 2, clockstate.Offsets{Monotonic: second - 1, Boottime: second}}},
		{"up from below zero", -1, -1, Unshared{0, 0, clockstate.Offsets{Monotonic: 1, Boottime: 1}}},
		{"the distance is kept", 1, second / 2, Unshared{1, 2, clockstate.Offsets{Monotonic: second - 1, Boottime: second + second/2}}},
		{"boottime alone", second, 1, Unshared{1, 1, clockstate.Offsets{Boottime: second - 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := wholeSeconds(clockstate.Offsets{Monotonic: tt.mono, Boottime: tt.boot}); err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	for _, o := range []clockstate.Offsets{{Monotonic: math.MaxInt64}, {Boottime: math.MaxInt64}, {Monotonic: 1, Boottime: math.MaxInt64 - 5}} {
		if got, err := wholeSeconds(o); err == nil {
			t.Errorf("%+v: got %+v", o, got)
		}
	}
}

// TestWholeSecondsUp checks that rounding moves no clock back, moves it as little as
// it can, and that BOOTTIME - MONOTONIC does not shrink.
func TestWholeSecondsUp(t *testing.T) {
	const second = clockstate.Nanos(1e9)
	rapid.Check(t, func(t *rapid.T) {
		o := drawOffsets(t)
		u, err := wholeSeconds(o)
		if err != nil {
			t.Fatal(err)
		}
		mono, boot := clockstate.Nanos(u.Monotonic)*second, clockstate.Nanos(u.Boottime)*second
		if u.Forward != (clockstate.Offsets{Monotonic: mono - o.Monotonic, Boottime: boot - o.Boottime}) {
			t.Fatalf("%+v does not add up from %+v", u, o)
		}
		if d := u.Forward.Monotonic; d < 0 || d >= second {
			t.Fatalf("MONOTONIC is moved by %v", d)
		}
		if d := u.Forward.Boottime - u.Forward.Monotonic; d < 0 || d >= second {
			t.Fatalf("BOOTTIME - MONOTONIC is moved by %v", d)
		}
	})
}

// onBoot is the state of a process that was frozen just now on a boot like this one, by
// so much older.
func onBoot(t *testing.T, id string, older clockstate.Nanos) *clockstate.State {
	t.Helper()
	s := stateOf(t, 10)
	if id == "" {
		id = s.Freeze.BootID
	}
	s.Host.BootID, s.Freeze.BootID = id, id
	shifted, err := s.Freeze.Shift(clockstate.Offsets{Monotonic: older, Boottime: older})
	if err != nil {
		t.Fatal(err)
	}
	s.Freeze.Readings, s.Processes[0].Readings = shifted, shifted
	return s
}

// TestUnshareClocks runs programs by unshare as a plan says, and asks what they read:
// the host's clocks and the offsets, and not less than what was recorded.
func TestUnshareClocks(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs unshare of util-linux, and root")
	}
	holder, err := timens.NewHolder()
	if err != nil {
		t.Skip(err)
	}
	holder.Close()
	clocks, err := hostclock.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	now, err := clocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	const other = "11111111-0000-4000-8000-000000000002"
	for _, boot := range []struct {
		name, id string
		older    clockstate.Nanos
	}{
		{"same boot", "", 0},
		{"older boot", other, 100_000_123_456_789},
		{"younger boot", other, -now.Monotonic/2 - 7},
	} {
		for _, policy := range clockstate.Policies() {
			t.Run(boot.name+", "+policy.String(), func(t *testing.T) {
				s := onBoot(t, boot.id, boot.older)
				plan, err := Plan(&Images{State: s}, PlanOptions{Policy: policy})
				if err != nil {
					t.Fatal(err)
				}
				unshared(t, clocks, plan)
			})
		}
	}
}

// unshared runs one program and checks what it reads.
func unshared(t *testing.T, clocks *hostclock.Reader, plan *clockstate.Plan) {
	t.Helper()
	u, err := Unshare(plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := clocks.WaitUntil(t.Context(), plan.Resume.Monotonic); err != nil {
		t.Fatal(err)
	}
	before, err1 := clocks.Read()
	args := append(u.Command(), os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), helperVariable+"=1"), os.Stderr
	out, err2 := cmd.Output()
	after, err3 := clocks.Read()
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got clockstate.Readings
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	offsets := clockstate.Offsets{Monotonic: clockstate.Nanos(u.Monotonic) * 1e9, Boottime: clockstate.Nanos(u.Boottime) * 1e9}
	least, _ := before.Shift(offsets)
	most, _ := after.Shift(offsets)
	for _, c := range []clockstate.Clock{clockstate.Monotonic, clockstate.MonotonicRaw, clockstate.MonotonicCoarse, clockstate.Boottime} {
		low, _ := least.Of(c)
		high, _ := most.Of(c)
		is, _ := got.Of(c)
		if is < low || is > high {
			t.Errorf("%v reads %v, want %v to %v, by %q", c, is, low, high, u.Command())
		}
	}
	root := plan.State.Processes[0].Readings
	if proof := clockstate.Compare(root, got, plan.State.Freeze.Width+plan.Dest.Width); !proof.Kept {
		t.Errorf("recorded %+v, the program reads %+v: %+v", root, got, proof)
	}
}

func TestUnshareCommand(t *testing.T) {
	got := Unshared{Monotonic: -3, Boottime: 7}.Command()
	want := []string{"unshare", "--time", "--monotonic", "-3", "--boottime", "7", "--fork", "--kill-child", "--"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
