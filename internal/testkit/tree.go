// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for a process to do what it does at once on a
// machine that has time.
const patience = 20 * time.Second

// Start starts a program in a session of its own, unless cmd.SysProcAttr is set: CRIU
// refuses a tree whose session is led from outside of its pid namespace, as that of
// a test in a container is. What is set must make it lead a process group. The
// process, and all that comes of it, ends with the test at the latest.
func Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	}
	// The kernel takes the thread that starts a program for its parent, whose end it may
	// be told of (PR_SET_PDEATHSIG). So that one stays.
	started, end := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		<-end
	}()
	t.Cleanup(func() { close(end) })
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Kill(t, cmd.Process.Pid) })
}

// StartReady starts a program like [Start], with the write end of a pipe as its
// descriptor 3, and returns what was written there: a line, or everything if all
// its processes close the pipe. What the program prints goes into a file, so that no
// pipe leads out of the tree; see [Said].
func StartReady(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	if cmd.Stdout == nil {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	Start(t, cmd)
	write.Close()
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	word, err := bufio.NewReader(read).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("wait until %v is ready: %v; it said %q", cmd.Args, err, Said(t, cmd))
	}
	return word
}

// Said is what a program of [StartReady] has printed so far.
func Said(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	text, err := os.ReadFile(cmd.Stdout.(*os.File).Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Tree lists a process and all below it, parents before children. Processes that
// end meanwhile may be left out.
func Tree(root int) []int {
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, Children(pids[i])...)
	}
	return pids
}

// Children lists the children of a process, those of all its threads, in the order
// of their birth.
func Children(pid int) []int {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// Kill ends a child of the test with all below it and all of its process group,
// and waits until their numbers are free again. It does nothing if the test has no
// such children any more: the number may be somebody else's.
func Kill(t testing.TB, root int) {
	t.Helper()
	if !isChild(unix.P_PID, root) && !isChild(unix.P_PGID, root) {
		return
	}
	pids := Tree(root)
	unix.Kill(-root, unix.SIGKILL)
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
	Reap(t, pids...)
	// What was born too late to be listed.
	for isChild(unix.P_PGID, root) {
		unix.Wait4(-root, nil, unix.WALL, nil)
	}
}

// isChild reports whether the test has a child of this number or process group.
func isChild(kind, id int) bool {
	return !errors.Is(unix.Waitid(kind, id, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil), unix.ECHILD)
}

// Reap waits until processes that are dying are gone: children of the test, or
// such as become it when their parents are gone.
func Reap(t testing.TB, pids ...int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for pids = slices.Clone(pids); len(pids) > 0; {
		pids = slices.DeleteFunc(pids, func(pid int) bool {
			_, err := unix.Wait4(pid, nil, unix.WALL|unix.WNOHANG, nil)
			return errors.Is(err, unix.ECHILD) && unix.Kill(pid, 0) != nil
		})
		if time.Now().After(deadline) {
			t.Errorf("processes %v do not end", pids)
			return
		}
		if len(pids) > 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
}
