// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// startOdd starts testdata/odd.c until the end of the test. ok is false where the
// kernel does not let a process be of that kind.
func startOdd(t *testing.T, kind string) (pid int, ok bool) {
	t.Helper()
	cmd := exec.Command(testkit.Build(t, "odd.c"), kind)
	ready := testkit.StartReady(t, cmd)
	if ready == "" {
		t.Fatalf("%s: it ended, and said %q", kind, testkit.Said(t, cmd))
	}
	return cmd.Process.Pid, ready == "ready\n"
}

func TestSurvey(t *testing.T) {
	tests := []struct{ kind, what string }{
		{"strict", "strict seccomp mode"},
		{"filter", "seccomp filter"},
		{"filter in a thread", "seccomp filter (thread "},
		{"deadline", "scheduling policy SCHED_DEADLINE"},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			pid, ok := startOdd(t, tt.kind)
			if !ok {
				t.Skip("the kernel does not let a process be that here")
			}
			found, err := Survey([]int{pid})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 || !strings.HasPrefix(found[0].What, tt.what) || found[0].PID != pid || found[0].Comm != "odd" || found[0].Why == "" {
				t.Errorf("got %+v", found)
			}
			// What the survey names, the dump refuses too.
			if err := tryCollect(t, pid); !errors.Is(err, engine.ErrUnsupported) {
				t.Errorf("Collect: %v", err)
			}
		})
	}
}

// tryCollect collects one process, but for what a call in it would tell.
func tryCollect(t *testing.T, pid int) error {
	t.Helper()
	return ptrace.Run(func(tr *ptrace.Tracer) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		tree, err := tr.Freeze(ctx, pid)
		if err != nil {
			return err
		}
		defer tree.Release()
		for _, th := range tree.Threads() {
			if _, err := threadFromOutside(pid, th.TID); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestSurveyPlain(t *testing.T) {
	pid, _ := startOdd(t, "plain")
	gone := exec.CommandContext(t.Context(), "/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	found, err := Survey([]int{gone.Process.Pid, pid})
	if err != nil || len(found) != 0 {
		t.Errorf("got %v, %v", found, err)
	}
	if err := tryCollect(t, pid); err != nil {
		t.Errorf("Collect: %v", err)
	}
}

func TestSurveyLeaderEnded(t *testing.T) {
	pid, _ := startOdd(t, "leader that has ended")
	// The first thread may still be on its way out.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if st, err := proc.ReadStat(pid); err != nil || st.State == proc.Zombie {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the first thread does not end")
		}
	}
	found, err := Survey([]int{pid})
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0].What, "first thread that has ended") {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestSurveyTraced(t *testing.T) {
	pid, _ := startOdd(t, "plain")
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		if _, err := tr.Seize(pid); err != nil {
			return err
		}
		found, err := Survey([]int{pid})
		if len(found) != 1 || !strings.HasPrefix(found[0].What, "tracer (process ") {
			t.Errorf("got %v", found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSurveySemaphores tells a process that has used semaphores from one whose end
// will change them.
func TestSurveySemaphores(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		found int
	}{{"undo", 1}, {"semaphores", 0}} {
		t.Run(tt.kind, func(t *testing.T) {
			pid, ok := startOdd(t, tt.kind)
			if !ok {
				t.Skip("no semaphores here")
			}
			t.Cleanup(func() {
				id, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(pid), 0, 0)
				if errno == 0 {
					_, _, errno = unix.Syscall(unix.SYS_SEMCTL, id, 0, 0) // IPC_RMID
				}
				if errno != 0 {
					t.Errorf("remove the semaphores: %v", errno)
				}
			})
			found, err := Survey([]int{pid})
			if err != nil || len(found) != tt.found || len(found) > 0 && (found[0].PID != pid || !strings.Contains(found[0].What, "SEM_UNDO")) {
				t.Errorf("got %v, %v", found, err)
			}
			err = refuseAdjusters([]Target{{Process: &ptrace.Process{PID: pid}}})
			if refused := errors.Is(err, engine.ErrUnsupported); refused != (tt.found > 0) || err != nil && !refused {
				t.Errorf("Collect: %v", err)
			}
		})
	}
}

func TestParseSemaphores(t *testing.T) {
	const table = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n" +
		"         0     131072   600          3     0     0     0     0 1764041446 1764041446\n"
	got, err := parseSemaphores([]byte(table))
	if err != nil || !slices.Equal(got, []semaphoreSet{{131072, 3}}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"1 2 3\n", "0 x 600 1\n", "0 1 600 x\n"} {
		if got, err := parseSemaphores([]byte("key\n" + bad)); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

// TestCollectRefuses has Collect find what only the process itself can tell.
func TestCollectRefuses(t *testing.T) {
	for _, tt := range []struct{ kind, says string }{
		{"key of the process", "keyring of the process"},
		{"key of a thread", "keyring of the thread"},
		{"ldt", "modify_ldt"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			pid, ok := startOdd(t, tt.kind)
			if !ok {
				t.Skip("the kernel does not let a process be that here")
			}
			f := &family{t: t, root: pid}
			f.settle()
			f.frozen(func(targets []Target) error {
				err := Collect(targets, criuimg.NewSet(), nil)
				if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("Collect: %v", err)
				}
				return nil
			})
		})
	}
}

// narrowProgram is an ELF file of a 32-bit program that calls pause(2) for ever.
func narrowProgram() []byte {
	const base, entry = 0x10000, 0x10054
	code := "\xb8\x1d\x00\x00\x00\xcd\x80\xeb\xf7" // mov $29, %eax; int $0x80; jmp
	b := []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	half := func(v ...uint16) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	word := func(v ...uint32) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	half(2, 3) // An executable for the 386.
	word(1, entry, 52, 0, 0)
	half(52, 32, 1, 0, 0, 0)
	size := uint32(entry - base + len(code))
	word(1, 0, base, base, size, size, 5, 4096) // One segment, readable and executable.
	return append(b, code...)
}

func TestSurveyNarrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "narrow")
	if err := os.WriteFile(path, narrowProgram(), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path)
	if err := cmd.Start(); errors.Is(err, unix.ENOEXEC) {
		t.Skip("this kernel runs no 32-bit programs")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	// Start returns when the exec has closed a descriptor. On Linux 6.12.117 the
	// process may be the old program for a moment longer.
	exe := fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := os.Readlink(exe)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(link) == filepath.Base(path) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still %s", exe, link)
		}
	}
	found, err := Survey([]int{cmd.Process.Pid})
	if err != nil || len(found) != 1 || found[0].What != "32-bit program" {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestSurveyFamily sees nothing wrong with a tree that can be saved.
func TestSurveyFamily(t *testing.T) {
	f := startFamily(t, "users")
	tree, err := proc.Scan(f.root)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, task := range tree.Tasks {
		pids = append(pids, task.PID)
	}
	if found, err := Survey(pids); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v", found, err)
	}
	if err := Collect(nil, criuimg.NewSet(), nil); err == nil {
		t.Error("a tree of no processes was collected")
	}
}
