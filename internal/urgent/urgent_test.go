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

func TestOn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may use the real-time class")
	}
	done := make(chan [4]uint32)
	go func() {
		runtime.LockOSThread() // Never unlocked.
		thread := unix.Gettid()
		var seen [4]uint32
		On(func() {
			seen[0] = policy(t)
			Do(func() {
				seen[1] = policy(t)
				if unix.Gettid() != thread {
					t.Error("an urgent thread has handed over to another one")
				}
			})
			On(func() { seen[2] = policy(t) })
			if p := policy(t); p != schedFIFO {
				t.Errorf("class %d after the inner call", p)
			}
		})
		seen[3] = policy(t)
		done <- seen
	}()
	if got, want := <-done, [4]uint32{schedFIFO, schedFIFO, schedFIFO, 0}; got != want {
		t.Errorf("classes %v, want %v", got, want)
	}
}
