// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/maps"
)

func TestMain(m *testing.M) {
	// What this process was started with is not for its children to have.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// start starts a program that does nothing until the test's end.
func start(t *testing.T, argv ...string) int {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestProbe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may choose process numbers")
	}
	if err := Probe(); err != nil {
		t.Error(err)
	}
}

func TestVDSOOf(t *testing.T) {
	areas, err := maps.Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range areas {
		if a.Path != "[vdso]" {
			continue
		}
		v, err := vdsoOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			addr uint64
			want bool
		}{{a.Start - 1, false}, {a.End, false}, {a.Start, true}, {a.End - 1, true}, {a.End + 0x1000, false}} {
			if got, err := v.has(tt.addr); got != tt.want || err != nil {
				t.Errorf("%x in %x-%x: %v, %v", tt.addr, a.Start, a.End, got, err)
			}
		}
	}
	if _, err := vdsoOf(1 << 30); err == nil {
		t.Error("nobody has a vdso")
	}
}

func TestSurvey(t *testing.T) {
	plain := start(t, "sleep", "1000")
	found, err := Survey(plain, engine.Options{})
	if err != nil || len(found) != 0 {
		t.Errorf("a plain process has obstacles %v, %v", found, err)
	}
	for _, tt := range []struct {
		name string
		pid  func(t *testing.T) int
		opts engine.Options
		want string
	}{
		{"namespace", func(t *testing.T) int { return start(t, "unshare", "--uts", "sleep", "1000") }, engine.Options{}, "UTS namespace"},
		{"pid namespace to be", func(t *testing.T) int { return start(t, "unshare", "--pid", "sleep", "1000") }, engine.Options{}, "pid namespace"},
		{"external", func(*testing.T) int { return plain }, engine.Options{External: []string{"dev[1/3]:x"}}, "--external"},
		{"root", func(*testing.T) int { return plain }, engine.Options{Root: "/"}, "--root"},
		{"cgroups", func(*testing.T) int { return plain }, engine.Options{ManageCgroups: "soft"}, "--manage-cgroups"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pid := tt.pid(t)
			awaitComm(t, pid, "sleep")
			found, err := Survey(pid, tt.opts)
			if err != nil || len(found) == 0 || !strings.Contains(found[0].String(), tt.want) {
				t.Errorf("got %v, %v; want %q", found, err, tt.want)
			}
		})
	}
}

// awaitComm waits until a process has become another program.
func awaitComm(t *testing.T, pid int, name string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); comm(pid) != name; {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still %s", pid, comm(pid))
		}
	}
}

func TestUnsupportedError(t *testing.T) {
	var obstacles []engine.Obstacle
	for range 7 {
		obstacles = append(obstacles, engine.Obstacle{PID: 42, Comm: "httpd", What: "TCP socket (descriptor 3)", Why: "use CRIU"})
	}
	err := error(&UnsupportedError{obstacles})
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "process 42 (httpd) has a TCP socket (descriptor 3)") ||
		!strings.Contains(err.Error(), "and 2 more") {
		t.Errorf("got %v", err)
	}
}
