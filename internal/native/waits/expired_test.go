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
	pid := int32(cmd.Process.Pid)
	const most = 2000 // More than the program has, and more than fit into the kernel's buffer for answers.
	var asked []PosixTimer
	for id := range int32(most) {
		asked = append(asked, PosixTimer{pid, id}, PosixTimer{int32(os.Getpid()), id})
	}
	got, err := ReadExpired(asked)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	said := testkit.Said(t, cmd)
	if want := strings.Count(said, "\n"); len(got) != want {
		t.Errorf("%d timers stand still, want %d", len(got), want)
	}
	for line := range strings.Lines(said) {
		var id int32
		var first int64
		var want Expired
		var askedFor bool // By the program.
		if _, err := fmt.Sscan(line, &id, &want.At.Clock, &first, &want.Interval, &askedFor); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e := got[PosixTimer{pid, id}]
		want.Overrun, want.At.At = e.Overrun, first+e.Overrun*want.Interval
		if e != want {
			t.Errorf("got %+v, want %+v", e, want)
		}
		if (e.Overrun >= 15) != askedFor || e.Overrun > 0 && !askedFor {
			t.Errorf("timer %d has counted %d periods", id, e.Overrun)
		}
	}
}

// TestReadExpiredOfNobody asks about no timer, and about one of a process that is not
// there.
func TestReadExpiredOfNobody(t *testing.T) {
	for _, timers := range [][]PosixTimer{nil, {{1 << 22, 0}}} {
		if got, err := ReadExpired(timers); len(got) != 0 || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v: got %v, %v", timers, got, err)
		}
	}
}
