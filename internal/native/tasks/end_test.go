// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// withStubs gives f a stub and a child of it, both of which end with it.
func withStubs(t testing.TB, f func(parent, child *remote.Stub) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("giving processes numbers needs root")
	}
	parent, child := freePID(t), freePID(t)+1
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		p, err := remote.Spawn(tr, parent, testArea)
		if err != nil {
			return err
		}
		defer p.Kill()
		c, err := p.Fork(child, 0)
		if err != nil {
			return err
		}
		err = f(p, c)
		// It may be a zombie already.
		unix.Kill(child, unix.SIGKILL)
		return err
	})
	testkit.Reap(t, child)
	testkit.Reap(t, parent)
	if err != nil {
		t.Fatal(err)
	}
}

// freePID finds two numbers in a row that no process has, among the highest.
func freePID(t testing.TB) int {
	t.Helper()
	highest, err := readNumber("/proc/sys/kernel/pid_max", 10)
	if err != nil {
		t.Fatal(err)
	}
	free := func(pid int) bool {
		_, err := os.Lstat(fmt.Sprintf("/proc/%d", pid))
		return errors.Is(err, fs.ErrNotExist)
	}
	for pid := int(highest) - 3 - 100*(os.Getpid()%50); ; pid-- {
		if free(pid) && free(pid+1) {
			return pid
		}
	}
}

func TestEnd(t *testing.T) {
	// What a death by core leaves behind would be here.
	t.Chdir(t.TempDir())
	before := coreCells(t)
	for _, status := range []uint32{
		0, 42 << 8, 255 << 8,
		uint32(unix.SIGKILL), uint32(unix.SIGTERM), uint32(unix.SIGSEGV), uint32(unix.SIGHUP), 64,
		uint32(unix.SIGABRT) | coreFlag, uint32(unix.SIGQUIT) | coreFlag,
	} {
		t.Run(fmt.Sprintf("%#x", status), func(t *testing.T) {
			withStubs(t, func(_, child *remote.Stub) error {
				pid := child.PID()
				err := End(child, "was called", status)
				var lost *ExitError
				if errors.As(err, &lost) && lost.Want == lost.Got|coreFlag && !coresAreFiles(t) {
					t.Skipf("no core can be made here: %v", err)
				}
				if err != nil {
					return err
				}
				stat, err := proc.ReadStat(pid)
				if err != nil {
					return err
				}
				equal(t, "state", stat.State, proc.Zombie)
				equal(t, "name", stat.Comm, "was called")
				got, err := exitCode(pid)
				equal(t, "wait status", got, status)
				return err
			})
		})
	}
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
	equal(t, "directories for cores", coreCells(t), before)
}

// coreCells lists the directories in which cores are caught.
func coreCells(t *testing.T) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(os.TempDir(), "crtime-core-*"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(list)
}

// coresAreFiles reports whether the kernel writes cores into files that can be
// caught.
func coresAreFiles(t *testing.T) bool {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	_, ok := coreFolder(strings.TrimSpace(string(pattern)))
	return ok
}

func TestCheckStatus(t *testing.T) {
	tests := []struct {
		status uint32
		ok     bool
	}{
		{0, true},
		{1 << 8, true},
		{255 << 8, true},
		{uint32(unix.SIGTERM), true},
		{uint32(unix.SIGSEGV) | coreFlag, true},
		{34, true},
		{64, true},
		{1 << 16, false},
		{uint32(unix.SIGTERM) | coreFlag, false},
		{uint32(unix.SIGTERM) | 1<<8, false},
		{uint32(unix.SIGSTOP), false},
		{uint32(unix.SIGCHLD), false},
		{65, false},
		{0x7f | uint32(unix.SIGSTOP)<<8, false},
		{0xffff, false},
		{0xffffffff, false},
	}
	for _, tt := range tests {
		if err := checkStatus(tt.status); (err == nil) != tt.ok {
			t.Errorf("%#x: %v", tt.status, err)
		}
	}
}

func TestCoreFolder(t *testing.T) {
	tests := []struct {
		pattern, dir string
		ok           bool
	}{
		{"core", ".", true},
		{"core.%p", ".", true},
		{"/var/crash/core.%e.%p", "/var/crash", true},
		{"cores/%e/core", "cores/%e", false},
		{"../core", "..", false},
		{"|/usr/lib/systemd/systemd-coredump %P", "", false},
		{"@/run/coredump.socket", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if dir, ok := coreFolder(tt.pattern); ok != tt.ok || ok && dir != tt.dir {
			t.Errorf("%q: got %q, %v", tt.pattern, dir, ok)
		}
	}
}
