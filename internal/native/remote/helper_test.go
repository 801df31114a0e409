// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/testkit"
)

func itoa(n int) string { return strconv.Itoa(n) }

// traced runs f as the tracer. f is not on the test's goroutine: it must not call
// t.Fatal.
func traced(t *testing.T, f func(*ptrace.Tracer) error) {
	t.Helper()
	if err := ptrace.Run(f); err != nil {
		t.Fatal(err)
	}
}

// build compiles a program of testdata so that what it counts in its registers and
// on its stack stays where it is.
func build(t testing.TB, source string, flags ...string) string {
	t.Helper()
	if filepath.Ext(source) == ".c" {
		flags = append([]string{"-mavx", "-mno-red-zone", "-fno-stack-protector"}, flags...)
	}
	return testkit.Build(t, source, flags...)
}

// start runs a program until the end of the test. It gets a file for the page as
// its first argument.
func start(t testing.TB, program string, args ...string) *testkit.Counter {
	t.Helper()
	file := testkit.PageFile(t)
	return testkit.StartCounter(t, exec.Command(program, append([]string{file}, args...)...), file)
}

// stopAll seizes and stops every thread of a process, the first one first.
func stopAll(tr *ptrace.Tracer, pid int) ([]*ptrace.Thread, error) {
	var all []*ptrace.Thread
	seen := map[int]bool{}
	for {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return nil, err
		}
		news := 0
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			if seen[tid] {
				continue
			}
			seen[tid] = true
			news++
			th, err := tr.Seize(tid)
			if err != nil {
				return nil, err
			}
			if err := th.Interrupt(); err != nil {
				return nil, err
			}
			for {
				s, err := th.Wait()
				if err != nil {
					return nil, err
				}
				if s.Kind == ptrace.Interrupted || s.Kind == ptrace.GroupStop {
					break
				}
				if err := th.Interrupt(); err != nil {
					return nil, err
				}
				if err := th.Continue(s.Signal); err != nil {
					return nil, err
				}
			}
			all = append(all, th)
		}
		if news == 0 {
			return all, nil
		}
	}
}

// letGo detaches all.
func letGo(all []*ptrace.Thread) error {
	for _, th := range all {
		if err := th.Detach(0); err != nil {
			return err
		}
	}
	return nil
}

// getpids is a batch of n calls.
func getpids(n int) []Call {
	calls := make([]Call, n)
	for i := range calls {
		calls[i] = Call{Name: "getpid", Nr: unix.SYS_GETPID, Must: true}
	}
	return calls
}
