// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// startSleep starts a process that does nothing until the test's end.
func startSleep(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestCheckTarget(t *testing.T) {
	if err := checkTarget(startSleep(t).Process.Pid); err != nil {
		t.Errorf("a plain process: %v", err)
	}
}

func TestCheckTargetRefuses(t *testing.T) {
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	for {
		st, err := proc.ReadStat(zombie.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == proc.Zombie {
			break
		}
		runtime.Gosched()
	}
	tids, err := proc.Threads(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		pid  int
		want string
	}{
		{"zero", 0, "not a process identifier"},
		{"negative", -1, "not a process identifier"},
		{"nobody", 1 << 30, "there is no process"},
		{"kernel thread", 2, "kernel thread"},
		{"itself", os.Getpid(), "crtime itself"},
		{"its parent", os.Getppid(), "would freeze with it"},
		{"its own thread", tids[len(tids)-1], "is a thread of process"},
		{"zombie", zombie.Process.Pid, "has ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if name, _ := os.ReadFile("/proc/2/comm"); tt.name == "kernel thread" && string(name) != "kthreadd\n" {
				t.Skip("this pid namespace has no kernel threads")
			}
			err := checkTarget(tt.pid)
			if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCheckTargetRefusesTraced(t *testing.T) {
	pid := startSleep(t).Process.Pid
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	defer unix.PtraceDetach(pid)
	if err := checkTarget(pid); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "traced by process") {
		t.Errorf("got %v", err)
	}
}
