// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/testkit"
)

// update rewrites golden files and docs/cli.md: go test ./cmd/crtime -update.
var update = flag.Bool("update", false, "rewrite golden files and docs/cli.md")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"crtime": main})
}

// TestScripts runs the transcripts of testdata/script. In them crtime is this
// test binary, "mkimages DIR" writes the images of a tree of three, or with "one"
// behind it those of its root alone, "mkplain DIR" those of a plain CRIU, dumped at
// frozenAt, and "mkarchive DIR FILE none|gzip|zstd" what podman exports of the images in DIR.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("LC_ALL", "C.UTF-8")
			env.Setenv("CRTIME_CACHE", env.Getenv("WORK"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mkimages": func(ts *testscript.TestScript, _ bool, args []string) {
				state := recordedState()
				switch {
				case len(args) == 2 && args[1] == "one":
					state.Processes, state.Namespaces = state.Processes[:1], state.Namespaces[:1]
				case len(args) != 1:
					ts.Fatalf("usage: mkimages DIR [one]")
				}
				ts.Check(writeImages(ts.MkAbs(args[0]), state))
			},
			"mkplain": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 1 {
					ts.Fatalf("usage: mkplain DIR")
				}
				dir, date := ts.MkAbs(args[0]), time.Unix(0, int64(frozenAt))
				ts.Check(testkit.PlainTree().Write(dir))
				ts.Check(os.Chtimes(filepath.Join(dir, "timens-0.img"), date, date))
			},
			"mkarchive": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 3 {
					ts.Fatalf("usage: mkarchive DIR FILE none|gzip|zstd")
				}
				ts.Check(writeArchive(ts.MkAbs(args[0]), ts.MkAbs(args[1]), args[2]))
			},
		},
	})
}

// writeArchive writes an archive of the images in dir as podman would.
func writeArchive(dir, file, compression string) error {
	members, err := testkit.Podman(dir)
	if err != nil {
		return err
	}
	data, err := testkit.Tar(members)
	if err != nil {
		return err
	}
	if data, err = testkit.Compress(data, compression); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// writeImages writes a clock image into a directory as a dump would.
func writeImages(dir string, s *clockstate.State) error {
	data, err := clockstate.Encode(s)
	if err != nil {
		return err
	}
	staging, err := image.Stage(dir)
	if err != nil {
		return err
	}
	if err := staging.WriteFile(clockstate.FileName, data); err != nil {
		return err
	}
	if _, err := staging.Commit(); err != nil {
		return err
	}
	return staging.Close()
}

const (
	second      = clockstate.Nanos(1_000_000_000)
	millisecond = clockstate.Nanos(1_000_000)
	// frozenAt is the wall clock at the recorded freeze, 2026-03-01 12:00 UTC.
	frozenAt = 1_772_366_400 * second
)

// recordedState is a tree of three in two time namespaces, dumped on a machine
// that had been up for 26 hours.
func recordedState() *clockstate.State {
	const hostNS, ownNS = 4026531834, 4026532290
	offsets := clockstate.Offsets{Monotonic: -3600 * second, Boottime: 7200 * second}
	host := clockstate.Readings{
		Monotonic:       93_784*second + 5*millisecond,
		MonotonicRaw:    93_783*second + 700*millisecond,
		MonotonicCoarse: 93_784*second + 2*millisecond,
		Boottime:        93_900*second + 5*millisecond,
	}
	shifted, _ := host.Shift(offsets)
	process := func(pid, parent int32, comm string, threads int32) clockstate.Process {
		return clockstate.Process{
			PID: pid, OuterPID: pid, ParentPID: parent, Comm: comm, StartTime: 9_000_000, Threads: threads,
			Namespace: hostNS, NamespaceForChildren: hostNS, Readings: host,
			CPU: clockstate.CPUTime{User: 1500 * millisecond, System: 250 * millisecond},
		}
	}
	inside := process(4713, 4711, "wor ker\n", 1)
	inside.PID, inside.Namespace, inside.NamespaceForChildren, inside.Readings = 2, ownNS, ownNS, shifted
	return &clockstate.State{
		Format:      clockstate.CurrentFormat(),
		ToolVersion: "v0.1.0",
		Host:        clockstate.Host{BootID: "7d9f2f0e-0000-4000-8000-000000000001", Hostname: "alpha", KernelRelease: "6.12.1"},
		Freeze: clockstate.HostReading{
			Readings: host, Realtime: frozenAt, TAI: frozenAt + 37*second, Width: 400,
			WallClock: clockstate.WallClock{Known: true, Synchronised: true, MaxError: 3 * millisecond, EstError: 20_000, TAIOffset: 37},
			BootID:    "7d9f2f0e-0000-4000-8000-000000000001",
		},
		FreezeSource: clockstate.FreezeWatched,
		FreezeWindow: 300_000,
		RootPID:      4711,
		Namespaces:   []clockstate.Namespace{{ID: hostNS}, {ID: ownNS, Offsets: offsets}},
		Processes:    []clockstate.Process{process(4711, 1, "server", 5), process(4712, 4711, "helper", 1), inside},
		Engine:       "criu",
	}
}

// destination is a host on which the tree is restored two hours, three minutes
// and four seconds after its freeze, ten minutes after its boot.
func destination() clockstate.HostReading {
	s := recordedState().Freeze
	s.BootID = "11111111-0000-4000-8000-000000000002"
	s.Readings = clockstate.Readings{
		Monotonic: 600 * second, MonotonicRaw: 600*second - 200*millisecond,
		MonotonicCoarse: 600*second - 3*millisecond, Boottime: 600 * second,
	}
	s.Realtime, s.TAI = frozenAt+7384*second, frozenAt+7421*second
	s.Tick = clockstate.Tick{Edge: 599 * second, Period: 4 * millisecond, Lag: millisecond}
	return s
}

// plannedRestore is a plan for recordedState on destination.
func plannedRestore(t *testing.T, p clockstate.Policy) *clockstate.Plan {
	t.Helper()
	plan, err := clockstate.NewPlan(recordedState(), destination(), clockstate.PlanOptions{Policy: p})
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return plan
}

// golden compares text with a golden file, or rewrites it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
