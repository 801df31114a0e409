// SPDX-License-Identifier: Apache-2.0

package urgent

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// policy is the scheduling class of the calling thread.
func policy(t *testing.T) uint32 {
	t.Helper()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Policy
}

func TestDo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may use the real-time class")
	}
	var inside uint32
	Do(func() { inside = policy(t) })
	if inside != schedFIFO {
		t.Errorf("policy %d, want %d", inside, schedFIFO)
	}
	// No thread that is left may have kept the class.
	for range 100 {
		done := make(chan uint32)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			done <- policy(t)
		}()
		if p := <-done; p != 0 {
			t.Fatalf("another goroutine runs in class %d", p)
		}
	}
}
