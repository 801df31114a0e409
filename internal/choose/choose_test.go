// SPDX-License-Identifier: Apache-2.0

package choose

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/criu"
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

func TestAutoTakesNative(t *testing.T) {
	e, err := Choice{Engine: Auto, CRIU: noCRIU}.Dumper(t.Context(), Job{PID: sleeper(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if e.Name() != native.Name {
		t.Errorf("engine %s", e.Name())
	}
}

// listener is a file that only CRIU can dump.
func listener(t *testing.T) *os.File {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestAutoWarnsOfCRIU checks that nobody gets CRIU without being told why.
func TestAutoWarnsOfCRIU(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	choice := Choice{Engine: Auto, CRIU: testkit.CRIU(t), Log: zap.New(core)}
	e, err := choice.Dumper(t.Context(), Job{PID: sleeper(t, listener(t))})
	if err != nil {
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
	_, err := Choice{Engine: Auto, CRIU: noCRIU}.Dumper(t.Context(), Job{PID: sleeper(t, listener(t))})
	for _, want := range []string{"sleep", "descriptor 3", noCRIU} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err = (Choice{Engine: Auto, CRIU: noCRIU}).Dumper(t.Context(), Job{PID: sleeper(t, nil), TrackMem: true}); err == nil ||
		!strings.Contains(err.Error(), "track memory") {
		t.Errorf("memory tracking: %v", err)
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
