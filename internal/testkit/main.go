// SPDX-License-Identifier: Apache-2.0

// Package testkit is what the tests of several packages share: programs that are
// compiled when a test first wants them, processes that end with the test, and
// the CRIU that judges images. It is imported by test files only.
package testkit

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Main runs the tests of a package that starts processes, and returns the exit
// code for [os.Exit]. The orphans that the tests make become children of the test
// binary, which fails if one of them outlives the tests. It gets a session of its
// own where it would have one that is led from outside its pid namespace, as in
// some containers: such a session has no number that an image could hold.
func Main(m *testing.M) int {
	if sid, err := unix.Getsid(0); err != nil || sid == 0 {
		if _, err := unix.Setsid(); err != nil {
			fmt.Fprintln(os.Stderr, "found a session:", err)
			return 1
		}
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "adopt orphans:", err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(removePrograms(), collect()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// collect takes the children that the tests have left, which must all be dead or
// about to die.
func collect() error {
	for end := time.Now().Add(10 * time.Second); ; {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return fmt.Errorf("collect what the tests have left: %w", err)
		case pid == 0 && time.Now().After(end):
			left := Tree(os.Getpid())[1:]
			for _, pid := range left {
				unix.Kill(pid, unix.SIGKILL)
			}
			return fmt.Errorf("the tests have left processes that lived: %v", left)
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}
