// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"os"
	"os/exec"
	"testing"
)

// TestKnownGadgets checks that what is remembered of a file leads to the same places
// in another process of the same program as a search does.
func TestKnownGadgets(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	all, err := readMappings(pid)
	if err != nil {
		t.Fatal(err)
	}
	forget := func() {
		known.Lock()
		defer known.Unlock()
		clear(known.offsets)
	}
	forget()
	searched := findGadgets(pid, all, 0)
	if searched.call == 0 {
		t.Skip("nothing was found in sleep")
	}
	remembered := findGadgets(pid, all, 0)
	if remembered != searched {
		t.Errorf("remembered %+v, searched %+v", remembered, searched)
	}
	// A memory that does not fit the file is not believed.
	known.Lock()
	for key, g := range known.offsets {
		g.call, g.callReturn = g.call+1, g.callReturn+1
		known.offsets[key] = g
	}
	known.Unlock()
	if again := findGadgets(pid, all, 0); again != searched {
		t.Errorf("after a wrong memory %+v, want %+v", again, searched)
	}
	own, err := readMappings(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if g := findGadgets(os.Getpid(), own, 0); g.call == 0 {
		t.Error("nothing was found in this process")
	}
	forget()
}
