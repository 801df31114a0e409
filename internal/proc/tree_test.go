// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startTree starts a shell with two children and returns the shell's pid once
// all are there.
func startTree(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000 & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for range 1000 {
		if s, err := Scan(cmd.Process.Pid); err == nil && len(s.Tasks) == 3 {
			return cmd.Process.Pid
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the tree did not grow")
	return 0
}

func TestScanRunning(t *testing.T) {
	root := startTree(t)
	s, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if s.AllStopped {
		t.Error("a running tree counts as stopped")
	}
	if pids := s.PIDs(); len(pids) != 3 || pids[0] != root {
		t.Errorf("got %v, want root %d and two children", pids, root)
	}
}

func TestScanTraced(t *testing.T) {
	root := startTree(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	for i, pid := range s.PIDs() {
		if now, err := Scan(root); err != nil || now.AllStopped {
			t.Fatalf("with %d of 3 stopped: AllStopped %v, error %v", i, now.AllStopped, err)
		}
		if err := unix.PtraceSeize(pid); err != nil {
			t.Fatal(err)
		}
		defer unix.PtraceDetach(pid)
		if err := unix.PtraceInterrupt(pid); err != nil {
			t.Fatal(err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
	}
	now, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if !now.AllStopped || !now.Same(s) {
		t.Errorf("stopped tree: AllStopped %v, same as before %v", now.AllStopped, now.Same(s))
	}
}

func TestScanSignalStopIsNotFrozen(t *testing.T) {
	root := startTree(t)
	if err := syscall.Kill(-root, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	s, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if s.AllStopped {
		t.Error("a tree stopped by a signal, which anybody can continue, counts as held by a tracer")
	}
}

func BenchmarkScanSelf(b *testing.B) {
	for b.Loop() {
		if _, err := Scan(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
