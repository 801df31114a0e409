// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// makeForEver makes a stub, children and threads, and ends them, again and again.
// It says on standard output when it begins.
func makeForEver(tr *ptrace.Tracer, pid int) error {
	fmt.Println("ready")
	for {
		s, err := Spawn(tr, pid, testArea)
		if err != nil {
			return err
		}
		children, err := forkMany(s, 3)
		if err != nil {
			return err
		}
		grandchild, err := children[1].Fork(pid+10, 0)
		if err != nil {
			return err
		}
		if _, err := grandchild.NewThreads([]int{pid + 11, pid + 12}); err != nil {
			return err
		}
		if err := grandchild.Kill(); err != nil {
			return err
		}
		if err := endChildren(s, children); err != nil {
			return err
		}
		if err := s.Kill(); err != nil {
			return err
		}
		// The grandchild's number is free when its new parent has collected it.
		for unix.Kill(pid+10, 0) == nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestStubsEndWithMaker kills the maker of stubs at any moment.
func TestStubsEndWithMaker(t *testing.T) {
	for range 15 {
		pid := freePID(t, 19000)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), makerVariable+"="+itoa(pid))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Fatalf("the maker says %q", lines.Text())
		}
		delay := time.Duration(rand.Int64N(int64(8 * time.Millisecond)))
		for start := time.Now(); time.Since(start) < delay; {
			collectRange(pid)
		}
		cmd.Process.Kill()
		if lines.Scan() {
			t.Errorf("the maker failed: %s", lines.Text())
		}
		cmd.Wait()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if collectRange(pid) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("stubs from %d on have survived their maker", pid)
			}
		}
	}
}

// collectRange waits for those of a maker's stubs that have become this process's
// children and ended, and says whether none is left.
func collectRange(first int) bool {
	left := false
	for pid := first; pid <= first+pidRun; pid++ {
		for {
			_, err := unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		left = left || unix.Kill(pid, 0) == nil
	}
	return !left
}
