// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMessages sends messages with files and takes them.
func TestMessages(t *testing.T) {
	ours, theirs, err := controlPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	long := strings.Repeat("x", 200_000)
	if err := send(ours, request{Args: []string{"dump", long}, Dir: "/"}, []*os.File{os.Stdin, os.Stdout}); err != nil {
		t.Fatal(err)
	}
	var r request
	files, err := receive(theirs, &r)
	closeAll(files)
	if err != nil || len(files) != 2 || len(r.Args) != 2 || r.Args[1] != long || r.Dir != "/" {
		t.Errorf("got %d files, %d arguments in %q: %v", len(files), len(r.Args), r.Dir, err)
	}
	if err := send(ours, request{Env: []string{string(make([]byte, mostMessage))}}, nil); err == nil {
		t.Error("a message that is too long was sent")
	}
	if _, err := theirs.WriteString("no message"); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(ours, &r); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("nonsense: %v", err)
	}
	ours.Close()
	if _, err := receive(theirs, &r); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// TestChildren collects children by hand, and sends signals to none but them.
func TestChildren(t *testing.T) {
	c := newChildren()
	run := func(script string, ended chan<- int) (pid int) {
		t.Helper()
		err := c.add(func() (int, error) {
			cmd := exec.Command("sh", "-c", script)
			if err := cmd.Start(); err != nil {
				return 0, err
			}
			pid = cmd.Process.Pid
			return pid, cmd.Process.Release()
		}, ended)
		if err != nil {
			t.Skip(err)
		}
		return pid
	}
	if err := c.add(func() (int, error) { return 0, io.EOF }, nil); !errors.Is(err, io.EOF) {
		t.Errorf("a start that fails: %v", err)
	}
	ended, killed := make(chan int, 1), make(chan int, 1)
	main := run("exit 3", nil)
	run("exit 4", ended)
	sleeper := run("exec sleep 1000", killed)
	if status := c.await(ended); status != 4 {
		t.Errorf("status %d, want 4", status)
	}
	c.signal(sleeper, unix.SIGTERM)
	c.signal(os.Getpid(), unix.SIGKILL) // It is nobody's child here.
	status, err := c.collect(main)
	if err != nil || status != 3 && status != 0 { // It may have been collected before.
		t.Errorf("status %d, %v", status, err)
	}
	if status := <-killed; status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d, want %d", status, 128+int(unix.SIGTERM))
	}
	if err := c.add(func() (int, error) { return 0, io.EOF }, nil); !errors.Is(err, errOver) {
		t.Errorf("a start after the end: %v", err)
	}
}

// TestFindNobody looks for keepers where there are none.
func TestFindNobody(t *testing.T) {
	for _, pid := range []int{os.Getpid(), 1 << 30} {
		if k, _, err := Find(pid); k != nil || err != nil {
			t.Errorf("process %d: %v, %v", pid, k, err)
		}
	}
	strange := exec.Command("unshare", "--user", "--pid", "--fork", "--kill-child", "sleep", "1000")
	if err := strange.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = strange.Process.Kill()
		_ = strange.Wait()
	}()
	time.Sleep(100 * time.Millisecond)
	if k, _, err := Find(strange.Process.Pid); k != nil || err != nil {
		t.Errorf("namespaces without a keeper: %v, %v", k, err)
	}
}
