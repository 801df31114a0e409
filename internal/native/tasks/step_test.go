// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// TestDoRealBirths makes trees that need helpers out of real processes. Sessions
// named 0 and groups named 0 are the test's own.
func TestDoRealBirths(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving processes numbers needs root")
	}
	tests := []struct {
		name    string
		persons []person
	}{
		{"child before setsid", []person{{10, 0, 10, 10, false}, {11, 10, 11, 0, false}}},
		{"zombie that leads the group", []person{{10, 0, 10, 10, false}, {11, 10, 11, 10, true}, {12, 10, 11, 10, false}}},
		{"zombie that leads a session", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, true}, {12, 10, 11, 11, false}}},
		{"leader of the group is gone", []person{{10, 0, 10, 10, false}, {11, 10, 50, 10, false}, {12, 10, 50, 10, false}}},
		{"leader of the session is gone", []person{{10, 0, 10, 10, false}, {11, 10, 50, 50, false}, {12, 11, 12, 50, false}}},
		{"adopted from a session in the tree", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, false}, {12, 10, 12, 11, false}}},
		{"root whose session's leader is gone", []person{{10, 0, 10, 60, false}, {11, 10, 10, 60, false}}},
		{"leader that went to another group", []person{{10, 0, 10, 10, false}, {11, 10, 12, 10, false}, {12, 10, 12, 10, false}, {13, 10, 11, 10, false}}},
		{"two leaders that changed places", []person{{10, 0, 10, 10, false}, {11, 10, 12, 10, false}, {12, 10, 11, 10, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := treeOf(tt.persons...)
			own, err := unix.Getsid(0)
			if err != nil {
				t.Fatal(err)
			}
			renumber(t, set)
			for _, e := range set.Tree {
				if *e.Sid == 0 {
					*e.Sid = uint32(own)
				}
			}
			rebuild(t, set, func(*nursery) error {
				samePlaces(t, set)
				return nil
			})
		})
	}
	adopts := int32(0)
	if err := prctlGet(unix.PR_GET_CHILD_SUBREAPER, &adopts); err != nil || adopts != 1 {
		t.Errorf("the test adopts orphans: %d, %v", adopts, err)
	}
}

// TestHelpersLeaveNoSignal sees to it that a program is not told of children that
// it never had.
func TestHelpersLeaveNoSignal(t *testing.T) {
	withStubs(t, func(parent, child *remote.Stub) error {
		stubs := map[int]*remote.Stub{parent.PID(): parent, child.PID(): child}
		step := Step{Action: EndHelper, PID: child.PID(), Parent: parent.PID()}
		if err := Do(step, stubs); err != nil {
			return err
		}
		if len(stubs) != 1 {
			t.Errorf("the helper is still among the stubs: %v", stubs)
		}
		before, err := parent.Thread.Pending(true)
		if err != nil {
			return err
		}
		equal(t, "the test is about a signal that is there", len(before), 1)
		b := newBatch(parent)
		if err := writeActions(b, saveActions(make([]sigaction, signals))); err != nil {
			return err
		}
		if err := b.run(nil); err != nil {
			return err
		}
		after, err := parent.Thread.Pending(true)
		equal(t, "pending signals", pending(after), "[]")
		return err
	})
}

func TestDoRefuses(t *testing.T) {
	withStubs(t, func(parent, _ *remote.Stub) error {
		stubs := map[int]*remote.Stub{parent.PID(): parent}
		for _, s := range []Step{
			{Action: NewSession, PID: 1},
			{Action: Fork, PID: parent.PID()},
			{Action: EndHelper, PID: parent.PID() + 1, Parent: parent.PID()},
			{Action: SetGroup, PID: parent.PID(), Group: 1},
			{Action: Exit, PID: parent.PID(), Status: 0x7f},
		} {
			if err := Do(s, stubs); err == nil {
				t.Errorf("%v: no error", s)
			}
		}
		return nil
	})
}
