// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/kernels/vm"
	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// TestCheck runs `crtime check` on each kernel: all are usable, and 6.1 is the one
// where clone3 takes the flag for a time namespace and does not honour it.
func TestCheck(t *testing.T) {
	forEachKernel(t, func(t *testing.T, m *vm.Machine) {
		o, err := m.Run(wire.Command{Argv: []string{crtime, "check", "--json"}, Timeout: time.Minute})
		check(t, err)
		var said struct {
			Usable   bool
			Findings []struct{ ID, Answer string }
		}
		if err := json.Unmarshal(o.Output, &said); err != nil {
			t.Fatalf("%v: %s %s", err, o.Output, o.Errors)
		}
		if !said.Usable {
			t.Errorf("crtime calls this kernel unusable: %s", o.Output)
		}
		want := map[string]string{"clone3-offsets": "yes", "unshare-offsets": "yes", "setns": "yes", "set-tid": "yes", "native": "yes"}
		if m.Kernel.Name == "6.1" {
			want["clone3-offsets"] = "no"
		}
		for _, f := range said.Findings {
			if answer, ok := want[f.ID]; ok && answer != f.Answer {
				t.Errorf("%s: %s, want %s", f.ID, f.Answer, answer)
			}
			delete(want, f.ID)
		}
		if len(want) > 0 {
			t.Errorf("crtime check says nothing about %v", want)
		}
	})
}
