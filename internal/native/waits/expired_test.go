// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/crtime/crtime/internal/testkit"
)

// TestReadExpired asks about a program whose timers have expired some twenty times.
func TestReadExpired(t *testing.T) {
	cmd := exec.Command(testkit.Build(t, "expired.c"))
	if testkit.StartReady(t, cmd) != "ready\n" {
		t.Fatalf("it said %q", testkit.Said(t, cmd))
	}
	all, err := ReadExpired([]int{cmd.Process.Pid, os.Getpid()})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]Expired{}
	for _, e := range all {
		got[e.ID] = e
	}
	said := testkit.Said(t, cmd)
	askedFor := strings.Count(said, "\n") // The last one is.
	if lines := strings.Count(said, "\n"); len(all) != lines || len(got) != lines {
		t.Errorf("got %+v, want %d timers", all, lines)
	}
	for line := range strings.Lines(said) {
		var want Expired
		var first int64
		if _, err := fmt.Sscan(line, &want.ID, &want.At.Clock, &first, &want.Interval); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e := got[want.ID]
		want.PID, want.Overrun, want.At.At = cmd.Process.Pid, e.Overrun, first+e.Overrun*want.Interval
		if e != want {
			t.Errorf("got %+v, want %+v", e, want)
		}
		askedFor--
		if (e.Overrun >= 15) != (askedFor == 0) || e.Overrun > 0 && askedFor > 0 {
			t.Errorf("timer %d has counted %d periods", e.ID, e.Overrun)
		}
	}
}

// TestReadExpiredOfNobody asks about no process, and about one that is not there.
func TestReadExpiredOfNobody(t *testing.T) {
	for _, pids := range [][]int{nil, {1 << 22}} {
		if all, err := ReadExpired(pids); len(all) != 0 || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v: got %v, %v", pids, all, err)
		}
	}
}
