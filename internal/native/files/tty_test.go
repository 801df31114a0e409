// SPDX-License-Identifier: Apache-2.0

package files

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newTerminal makes a pseudo terminal, both of whose ends are the test's.
func newTerminal(t *testing.T) (outer, inner *os.File) {
	t.Helper()
	fd, err := openMaster("/dev/ptmx", unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	end, err := openSlaveAt(slavePath("/dev/ptmx", number), number, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	outer, inner = os.NewFile(uintptr(fd), "master"), os.NewFile(uintptr(end), "slave")
	t.Cleanup(func() {
		outer.Close()
		inner.Close()
	})
	return outer, inner
}

// TestShellJob restores a job that had its terminal from outside.
func TestShellJob(t *testing.T) {
	_, inner := newTerminal(t)
	usual, err := unix.IoctlGetTermios(int(inner.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	h := holdWith(t, "shelljob", 5, inner)
	t.Run("refused", func(t *testing.T) {
		wantObstacle(t, h, Limits{}, obstacle{"terminal /dev/pts/", "--shell-job"})
	})
	before := picture(t, h.pids)
	pids := h.pids
	s, c := h.mustCollect(everything)
	s = write(t, s, c)
	if err := Check(s); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.end()
	// The shell sets its terminal anew for itself.
	if err := unix.IoctlSetTermios(int(inner.Fd()), unix.TCSETS, usual); err != nil {
		t.Fatal(err)
	}
	rebuilt(t, s, given{terminal: inner}, func() {
		if after := picture(t, pids); after != before {
			t.Errorf("the restored tree differs:\n%s", difference(before, after))
		}
	})
	t.Run("without a terminal", func(t *testing.T) {
		r, err := NewRebuild(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.OpenAll(); err == nil || !strings.Contains(err.Error(), "--shell-job from a terminal") {
			t.Errorf("got %v, want an error that says what to do", err)
		}
	})
}

// TestTwoTerminals refuses a job with two terminals, of which a restore has but
// one.
func TestTwoTerminals(t *testing.T) {
	_, first := newTerminal(t)
	_, second := newTerminal(t)
	a, b := holdWith(t, "shelljob", 5, first), holdWith(t, "shelljob", 5, second)
	both := &holderTree{t: t, pids: append(append([]int{}, a.pids...), b.pids...), parents: map[int]int{b.pids[0]: a.pids[0]}}
	wantObstacle(t, both, everything, obstacle{"terminal /dev/pts/", "--shell-job has but one to give"})
}

// TestOuterTerminal refuses one that somebody outside has open, too.
func TestOuterTerminal(t *testing.T) {
	h := hold(t, "ptys", 7)
	// Without the child that leads the session on it.
	part := &holderTree{t: t, pids: h.pids[:1]}
	wantObstacle(t, part, everything, obstacle{"terminal /dev/p", "which is not in the tree, uses terminal /dev/pts/"})
}

// TestTerminalInUse says which terminal is in the way.
func TestTerminalInUse(t *testing.T) {
	h := hold(t, "ptys", 7)
	s, c := h.mustCollect(everything)
	s = write(t, s, c)
	r, err := NewRebuild(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err = r.OpenAll(); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("got %v, want an error: the tree still runs", err)
	}
}
