// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestReadStat(t *testing.T) {
	self, ok := readStat(os.Getpid())
	if !ok || self.parent != os.Getppid() || self.zombie() {
		t.Errorf("own stat is %+v, %v; the parent is %d", self, ok, os.Getppid())
	}
	if _, ok := readStat(0); ok {
		t.Error("process 0 was found")
	}
}

func TestReadStatOddName(t *testing.T) {
	// A name with everything that could confuse a parser.
	path := filepath.Join(t.TempDir(), "a) R 1 (b")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, path); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	s, ok := readStat(cmd.Process.Pid)
	if !ok || s.comm != "a) R 1 (b" || s.parent != os.Getpid() {
		t.Errorf("stat is %+v, %v", s, ok)
	}
	if !slices.Contains(descendants(os.Getpid()), s.pid) {
		t.Error("a child is no descendant")
	}
}

func TestRun(t *testing.T) {
	ctx := context.Background()
	out, _, err := run(ctx, []string{"sh", "-c", "echo $GREETING"}, "GREETING=hello")
	if err != nil || string(out) != "hello\n" {
		t.Errorf("got %q, %v", out, err)
	}
	_, _, err = run(ctx, []string{"sh", "-c", "echo no >&2; exit 7"})
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Code != 7 || failed.Stderr != "no\n" {
		t.Errorf("got %v, want status 7", err)
	}
	if CodeOf(err) != 7 || CodeOf(nil) != 0 || CodeOf(errors.New("other")) != -1 {
		t.Error("CodeOf is wrong")
	}
	// A command must not wait for what it leaves running with its output open.
	begin := time.Now()
	if _, _, err := run(ctx, []string{"sh", "-c", "sleep 2 & :"}); err != nil || time.Since(begin) > time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestTreeKillEndsEverything(t *testing.T) {
	dir := t.TempDir()
	tree, err := Start(Program{
		Name: "family", Dir: dir,
		Argv: []string{"sh", "-c", "sleep 61 & setsid sleep 62 & wait"},
	}, filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = wait(ctx, "three processes", func() (bool, error) { return len(tree.PIDs()) == 3, nil })
	if err != nil {
		t.Error(err)
	}
	if err := tree.Kill(); err != nil {
		t.Error(err)
	}
	if live := tree.PIDs(); len(live) != 0 || tree.Alive() || tree.State() != "gone" {
		t.Errorf("after Kill, %v run and the root is %s", live, tree.State())
	}
	if err := tree.WaitRecords(ctx, 1); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
}

func TestFind(t *testing.T) {
	if path, err := find("no-such-program", "sh"); err != nil || filepath.Base(path) != "sh" {
		t.Errorf("got %q, %v", path, err)
	}
	if _, err := find("no-such-program"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

func TestForward(t *testing.T) {
	r := RestoreResult{Corrections: []Correction{
		{Clock: "CLOCK_MONOTONIC_RAW", Forward: 5}, {Clock: "CLOCK_BOOTTIME", Forward: 3},
	}}
	if m, b := r.Forward(1), r.Forward(4); m != 5 || b != 3 {
		t.Errorf("forward %d and %d, want 5 and 3", m, b)
	}
}
