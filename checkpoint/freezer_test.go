// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/proc"
)

// group is a folder that looks like a control group with these processes.
func group(t *testing.T, pids ...int) (dir string, set func(frozen bool)) {
	t.Helper()
	dir = t.TempDir()
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "cgroup.procs"), "")
	list := ""
	for _, pid := range pids {
		list += fmt.Sprintln(pid)
	}
	write(filepath.Join(below, "cgroup.procs"), list)
	set = func(frozen bool) {
		state := map[bool]string{true: "FROZEN\n", false: "THAWED\n"}[frozen]
		write(filepath.Join(dir, "freezer.state"), state)
	}
	set(false)
	return dir, set
}

func TestNewFreezer(t *testing.T) {
	if newFreezer("") != nil || newFreezer(t.TempDir()) != nil {
		t.Error("a freezer where there is none")
	}
	dir, set := group(t)
	f := newFreezer(dir)
	if f == nil || f.frozen() {
		t.Fatal("a group that is thawed counts as frozen")
	}
	if set(true); !f.frozen() {
		t.Error("a group that is frozen counts as thawed")
	}
	second := t.TempDir()
	if err := os.WriteFile(filepath.Join(second, "cgroup.events"), []byte("populated 1\nfrozen 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := newFreezer(second); f == nil || !f.frozen() {
		t.Error("a group of the second version")
	}
}

func TestFreezerHolds(t *testing.T) {
	dir, _ := group(t, 10, 11)
	f := newFreezer(dir)
	tree := func(tasks ...proc.Task) *proc.Snapshot { return &proc.Snapshot{Tasks: tasks} }
	if !f.holds(tree(proc.Task{PID: 10}, proc.Task{PID: 11}, proc.Task{PID: 12, Zombie: true})) {
		t.Error("a tree that is in the group")
	}
	if f.holds(tree(proc.Task{PID: 10}, proc.Task{PID: 13})) {
		t.Error("a tree of which one is not in the group")
	}
}

// TestChill follows what a watcher sees, step by step. Nobody traces this process, whose
// threads stand for those of a tree.
func TestChill(t *testing.T) {
	self := os.Getpid()
	dir, set := group(t, self)
	tree := &proc.Snapshot{Tasks: []proc.Task{{PID: self, Threads: []int{self}}}}
	later := &freeze{snapshot: tree, source: 1}
	number := 0
	record := func() *freeze {
		number++
		return &freeze{snapshot: tree, window: 1}
	}
	c := chill{group: newFreezer(dir)}
	c.look(c.group.frozen(), tree, record)
	if c.seen != nil {
		t.Fatal("seen frozen while it was not")
	}
	set(true)
	c.look(c.group.frozen(), tree, record)
	c.look(c.group.frozen(), tree, record)
	if c.seen == nil || number != 1 || c.traced {
		t.Fatalf("seen %v, %d readings, traced %v; want one reading, and nobody traces", c.seen, number, c.traced)
	}
	if c.instead(later) != later {
		t.Error("the moment counts although the tree was never traced while frozen")
	}
	set(false)
	c.look(c.group.frozen(), tree, record)
	if c.seen != nil {
		t.Error("the moment stays although the group was thawed before all were traced")
	}
	set(true)
	c.look(c.group.frozen(), tree, record)
	c.look(c.group.frozen(), &proc.Snapshot{Tasks: []proc.Task{{PID: self, Threads: []int{self, 1}}}}, record)
	if c.seen != nil {
		t.Error("the moment stays although there is another thread")
	}
	c.look(c.group.frozen(), tree, record)
	c.traced = true // As it would be if somebody traced this process.
	set(false)
	c.look(c.group.frozen(), tree, record)
	if got := c.instead(later); got != c.seen || got == nil {
		t.Error("the moment does not count although all were traced while the group was frozen")
	}
	if c.instead(&freeze{snapshot: &proc.Snapshot{}}) == c.seen {
		t.Error("the moment counts for another tree")
	}
}

// TestChillMissed has the group thawed before the tree is seen both traced and frozen. This
// process traces the one that stands for it.
func TestChillMissed(t *testing.T) {
	runtime.LockOSThread()      // The tracer is a thread. It ends with the test.
	cmd := exec.Command("true") // It stops before its first instruction.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid, self := cmd.Process.Pid, os.Getpid()
	dir, set := group(t, pid, self)
	tree := func(pid int) *proc.Snapshot {
		return &proc.Snapshot{Tasks: []proc.Task{{PID: pid, Threads: []int{pid}}}}
	}
	at := func(s *proc.Snapshot, when, window clockstate.Nanos) *freeze {
		f := &freeze{snapshot: s, window: window}
		f.reading.Monotonic = when
		return f
	}
	for _, test := range []struct {
		name   string
		pid    int
		window clockstate.Nanos
	}{
		{"traced", pid, 1007},
		{"not traced: it has run since", self, 3},
	} {
		c := chill{group: newFreezer(dir)}
		now := tree(test.pid)
		set(true)
		c.look(c.group.frozen(), now, func() *freeze { return at(now, 5000, 7) })
		set(false)
		for range 2 {
			c.look(c.group.frozen(), now, nil)
		}
		f := at(now, 6000, 3)
		if got := c.instead(f); got != f || got.window != test.window {
			t.Errorf("%s: %+v, want the later reading with a window of %d", test.name, got, test.window)
		}
	}
}
