// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/clocklog"
)

// How often the harness looks whether what it waits for has come.
const pollPause = 2 * time.Millisecond

// ErrNotRunning says that a program does not run, or is stopped.
var ErrNotRunning = errors.New("does not run")

// Program is something to start.
type Program struct {
	// Name is used for files and messages.
	Name string
	// Argv is the command; Argv[0] is looked up in PATH.
	Argv []string
	// Env is added to the lab's own environment.
	Env []string
	// Dir is the working directory; the lab's folder if empty.
	Dir string
	// Flags are what both a dump and a restore of it need.
	Flags []string
	// Board is the file that a spinning ticker shares, or empty.
	Board string
	// UID is the user that it runs as; 0 is root, as the tests are.
	UID uint32
}

// Tree is a program that was started, and everything below it. The process
// numbers stay the same through a dump and a restore.
type Tree struct {
	Program
	// PID is the root of the tree. It also leads a session of its own.
	PID int
	// Output is the file that takes standard output and standard error.
	Output string
	// known are all processes that were ever seen in the tree.
	known map[int]bool
}

// Start runs a program in a session of its own, with standard input from
// /dev/null and the rest into a file, as a daemon would be: nothing ties it to
// the terminal, so CRIU needs no flags for it.
func Start(p Program, output string) (*Tree, error) {
	// Programs of other users get it open, and need no right to open it.
	out, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", p.Name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Dir = p.Dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.UID, Gid: p.UID}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	t := &Tree{Program: p, PID: cmd.Process.Pid, Output: output, known: map[int]bool{cmd.Process.Pid: true}}
	// The harness reaps by number: after a restore the process is another one,
	// which os/exec would know nothing of. Release cannot fail here.
	_ = cmd.Process.Release()
	return t, nil
}

// PIDs lists the live processes of the tree: what descends from its root, and
// what is in its session.
func (t *Tree) PIDs() []int {
	below := descendants(t.PID)
	var found []int
	for _, s := range allProcesses() {
		if s.pid != t.PID && s.session != t.PID && !slices.Contains(below, s.pid) {
			continue
		}
		t.known[s.pid] = true
		if !s.zombie() {
			found = append(found, s.pid)
		}
	}
	return found
}

// Alive reports whether the root of the tree runs, and is not stopped.
func (t *Tree) Alive() bool {
	s, ok := readStat(t.PID)
	return ok && !s.zombie() && s.state != 'T' && s.state != 't'
}

// State says in words what the root of the tree is doing, for messages.
func (t *Tree) State() string {
	s, ok := readStat(t.PID)
	if !ok {
		return "gone"
	}
	return "in state " + string(s.state)
}

// Reap waits until no process of the tree is left, alive or ended. A dump ends
// a tree, and what lies below its root becomes this process's children then.
func (t *Tree) Reap(ctx context.Context) error {
	return wait(ctx, "the end of "+t.Name, func() (bool, error) {
		t.PIDs()
		left := false
		for pid := range t.known {
			reap(pid)
			if _, ok := readStat(pid); ok {
				left = true
			}
		}
		return !left, nil
	})
}

// Kill ends every process of the tree and reaps it. A tree that has already
// ended is fine. It takes no context: what was started must also be ended when
// the caller's own has run out.
func (t *Tree) Kill() error {
	// Once stopped, none can start another or leave the session any more.
	for seen := -1; seen != len(t.known); {
		seen = len(t.known)
		t.signal(t.PIDs(), unix.SIGSTOP)
	}
	t.signal(t.PIDs(), unix.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return t.Reap(ctx)
}

// signal sends a signal. A process that is already gone needs none.
func (*Tree) signal(pids []int, s unix.Signal) {
	for _, pid := range pids {
		_ = unix.Kill(pid, s)
	}
}

// Log reads what the program has printed so far.
func (t *Tree) Log() (clocklog.Log, error) {
	data, err := os.ReadFile(t.Output)
	if err != nil {
		return clocklog.Log{}, fmt.Errorf("output of %s: %w", t.Name, err)
	}
	log, err := clocklog.ParseBytes(data)
	if err != nil {
		return log, fmt.Errorf("output of %s: %w", t.Name, err)
	}
	return log, nil
}

// WaitRecords waits until the program has printed n records more than at the
// call; for a ticker that spins, until it has made n turns more. The error is
// ErrNotRunning when the program does not run.
func (t *Tree) WaitRecords(ctx context.Context, n int) error {
	count := func() (int, error) {
		if t.Board != "" {
			b, err := t.ReadBoard()
			if errors.Is(err, clocklog.ErrNotReady) || errors.Is(err, os.ErrNotExist) {
				return 0, nil
			}
			return int(b.Loops), err
		}
		log, err := t.Log()
		return len(log.Records), err
	}
	begin, err := count()
	if err != nil {
		return err
	}
	return wait(ctx, fmt.Sprintf("%d records of %s", n, t.Name), func() (bool, error) {
		if !t.Alive() {
			return false, fmt.Errorf("%s (pid %d): %w; its output ends in %q", t.Name, t.PID, ErrNotRunning, t.tail())
		}
		now, err := count()
		return now >= begin+n, err
	})
}

// WaitOutput waits until the program has printed so many lines, and returns all
// that it has printed. A program that ends earlier is no error: what it printed
// says why.
func (t *Tree) WaitOutput(ctx context.Context, lines int) (string, error) {
	var text string
	err := wait(ctx, fmt.Sprintf("%d lines of %s", lines, t.Name), func() (bool, error) {
		// In this order: what a program that has ended printed is all there.
		running := t.Alive()
		data, err := os.ReadFile(t.Output)
		text = string(data)
		return strings.Count(text, "\n") >= lines || !running, err
	})
	if err != nil {
		return text, fmt.Errorf("%w; it is %s and has printed %q", err, t.State(), text)
	}
	return text, nil
}

// tail returns the end of what the program printed.
func (t *Tree) tail() string {
	data, err := os.ReadFile(t.Output)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-300):])
}

// ReadBoard reads what a spinning ticker saw.
func (t *Tree) ReadBoard() (clocklog.Board, error) {
	data, err := os.ReadFile(t.Board)
	if err != nil {
		return clocklog.Board{}, fmt.Errorf("board of %s: %w", t.Name, err)
	}
	return clocklog.ParseBoard(data)
}

// ResetBoard makes a spinning ticker forget its widest steps, and waits until
// it has.
func (t *Tree) ResetBoard(ctx context.Context) error {
	f, err := os.OpenFile(t.Board, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("board of %s: %w", t.Name, err)
	}
	defer f.Close()
	offset, data := clocklog.ResetBoard()
	if _, err := f.WriteAt(data, offset); err != nil {
		return fmt.Errorf("board of %s: %w", t.Name, err)
	}
	return wait(ctx, t.Name+" to reset its board", func() (bool, error) {
		b, err := t.ReadBoard()
		return !b.Resetting, err
	})
}

// wait calls done until it says yes or fails, or the context ends.
func wait(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-time.After(pollPause):
		}
	}
}
