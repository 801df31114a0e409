// SPDX-License-Identifier: Apache-2.0

package choose

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) {
	// What this process was started with is not for its children to have.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// sleeper starts a process that does nothing, with one more open file.
func sleeper(t *testing.T, file *os.File) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// noCRIU is a path at which there is none.
const noCRIU = "/nonexistent/criu"

// dump dumps a process, which runs on.
func dump(t *testing.T, e engine.Dumper, pid int) error {
	t.Helper()
	staging, err := image.Stage(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := staging.Discard(); err != nil {
			t.Error(err)
		}
	}()
	clocks, err := hostclock.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() error { return nil }
	return e.Dump(t.Context(), engine.DumpRequest{PID: pid, Images: staging, LeaveRunning: true}, engine.DumpHooks{
		Freezing: nothing, ReadClocks: clocks.Read,
		Frozen:    func(clockstate.HostReading) error { return nil },
		Collected: nothing,
	})
}

// auto is the dumper that is taken where nothing is said.
func auto(t *testing.T, c Choice) engine.Dumper {
	t.Helper()
	c.Engine = Auto
	e, err := c.Dumper(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAutoTakesNative(t *testing.T) {
	e := auto(t, Choice{CRIU: noCRIU})
	if err := dump(t, e, sleeper(t, nil)); err != nil {
		t.Fatal(err)
	}
	if e.Name() != native.Name {
		t.Errorf("engine %s", e.Name())
	}
}

// listener is a file that only CRIU can dump.
func listener(t *testing.T) *os.File {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // Which CRIU cannot dump.
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestAutoWarnsOfCRIU checks that nobody gets CRIU without being told why.
func TestAutoWarnsOfCRIU(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	e := auto(t, Choice{CRIU: testkit.CRIU(t), Log: zap.New(core)})
	if err := dump(t, e, sleeper(t, listener(t))); err != nil {
		t.Fatal(err)
	}
	if e.Name() != criu.Name {
		t.Fatalf("engine %s", e.Name())
	}
	warnings := logs.All()
	if len(warnings) != 1 {
		t.Fatalf("%d warnings", len(warnings))
	}
	if because := fmt.Sprint(warnings[0].ContextMap()["because"]); !strings.Contains(because, "descriptor 3") {
		t.Errorf("because %s", because)
	}
}

// TestAutoNamesWhatItCannot checks that a tree which only CRIU can dump is named,
// with what keeps crtime from it, also where there is no CRIU.
func TestAutoNamesWhatItCannot(t *testing.T) {
	err := dump(t, auto(t, Choice{CRIU: noCRIU}), sleeper(t, listener(t)))
	for _, want := range []string{"sleep", "descriptor 3", noCRIU} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	err = auto(t, Choice{CRIU: noCRIU}).PreDump(t.Context(), engine.DumpRequest{PID: sleeper(t, nil)})
	if err == nil || !strings.Contains(err.Error(), "pre-dump") || !strings.Contains(err.Error(), noCRIU) {
		t.Errorf("a pre-dump: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range Names() {
		if !(Choice{Engine: name}).Valid() {
			t.Errorf("%q is not valid", name)
		}
	}
	if (Choice{Engine: "docker"}).Valid() || (Choice{}).Valid() {
		t.Error("an engine that does not exist is valid")
	}
}
