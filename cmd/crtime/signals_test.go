// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"os/exec"
	"syscall"
	"testing"
)

// startShell starts a shell script as a child and returns it when it has
// written its first line.
func startShell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("wait for the shell: %v", err)
	}
	return cmd
}

func TestWaitChildReportsTheStatus(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		want         exitCode
	}{
		{"exit status", "echo; exit 7", 7},
		{"signal", "echo; kill -KILL $$", 137},
		{"success", "echo", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := waitChild(t.Context(), startShell(t, tc.script).Process.Pid)
			if err != nil || got != tc.want {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

func TestWaitChildPassesOnAnEarlierSignal(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&interruption{syscall.SIGTERM})
	child := startShell(t, "trap 'exit 9' TERM; echo; for i in $(seq 1000); do sleep 0.01; done")
	if got, err := waitChild(ctx, child.Process.Pid); err != nil || got != 9 {
		t.Errorf("got %d, %v; want 9", got, err)
	}
}

func TestWaitChildPassesOnALaterSignal(t *testing.T) {
	ctx, stop := interruptible(t.Context())
	defer stop()
	// The child signals its parent, which is this process, as a user would. It
	// ends by itself, so that it cannot outlive a test that is killed for long.
	child := startShell(t, "trap 'exit 9' TERM; echo; for i in 1 2 3 4 5 6 7 8 9; do kill -TERM $PPID; sleep 0.2; done")
	if got, err := waitChild(ctx, child.Process.Pid); err != nil || got != 9 {
		t.Errorf("got %d, %v; want 9", got, err)
	}
	if ctx.Err() == nil {
		t.Error("the signal did not end the context")
	}
}

func TestWaitChildOfNobody(t *testing.T) {
	if _, err := waitChild(t.Context(), 1); err == nil {
		t.Error("no error for a process that is not a child")
	}
}
