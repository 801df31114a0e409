// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/timens"
)

// planOf is a plan with these offsets for the tree of s, whose root lives in namespace 1.
func planOf(s *clockstate.State, o clockstate.Offsets) *clockstate.Plan {
	return &clockstate.Plan{State: s, Namespaces: []clockstate.PlannedNamespace{{ID: 1, Offsets: o}, {ID: 2}}}
}

// TestOCISpelling checks the names that the specification gives, and the rounding of a
// negative offset.
func TestOCISpelling(t *testing.T) {
	got, err := OCI(planOf(stateOf(t, 10), clockstate.Offsets{Monotonic: -1, Boottime: 5_000_000_006}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	const want = `{"linux":{"namespaces":[{"type":"time"}],"timeOffsets":{` +
		`"monotonic":{"secs":-1,"nanosecs":999999999},"boottime":{"secs":5,"nanosecs":6}}}}`
	if err != nil || string(text) != want {
		t.Errorf("got %s, %v\nwant %s", text, err, want)
	}
}

// drawOffsets draws any offsets that the kernel could be asked for.
func drawOffsets(t *rapid.T) clockstate.Offsets {
	draw := func(name string) clockstate.Nanos {
		n := rapid.Int64Range(-int64(clockstate.MaxReading), int64(clockstate.MaxReading)).Draw(t, name)
		if rapid.Bool().Draw(t, name+" is whole") {
			n -= n % 1_000_000_000
		}
		return clockstate.Nanos(n)
	}
	return clockstate.Offsets{Monotonic: draw("monotonic"), Boottime: draw("boottime")}
}

// TestOCIRoundTrip reads offsets as a runtime writes them for the kernel.
func TestOCIRoundTrip(t *testing.T) {
	s := stateOf(t, 10)
	rapid.Check(t, func(t *rapid.T) {
		want := drawOffsets(t)
		c, err := OCI(planOf(s, want))
		if err != nil {
			t.Fatal(err)
		}
		mono, boot := c.Linux.TimeOffsets.Monotonic, c.Linux.TimeOffsets.Boottime
		text := fmt.Sprintf("monotonic %d %d\nboottime %d %d\n", mono.Secs, mono.Nanosecs, boot.Secs, boot.Nanosecs)
		if got, err := timens.ParseOffsets(strings.NewReader(text)); err != nil || got != want {
			t.Fatalf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	})
}

// TestSeveralNamespaces checks that a tree which needs more than one is refused, with
// the process that needs it.
func TestSeveralNamespaces(t *testing.T) {
	tests := []struct {
		name          string
		own, children uint64 // Namespaces of a second process.
		text          string // What the error says; "": none.
	}{
		{"the root's", 1, 1, ""},
		{"another", 2, 2, `process 11 ("test") lives in another than the root, process 10`},
		{"one for children", 1, 2, `process 11 ("test") has made one for its children`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := stateOf(t, 10)
			second := s.Processes[0]
			second.OuterPID, second.Namespace, second.NamespaceForChildren = 11, tt.own, tt.children
			s.Processes = append(s.Processes, second)
			plan := planOf(s, clockstate.Offsets{})
			_, oci := OCI(plan)
			_, unshare := Unshare(plan)
			for _, err := range []error{oci, unshare} {
				if errors.Is(err, ErrSeveralNamespaces) != (tt.text != "") || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
