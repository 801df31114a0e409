// SPDX-License-Identifier: Apache-2.0

package imported

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/testkit"
)

// dumped is the date of the images.
func dumped() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 3_000_000, time.UTC) }

// write writes images with that date, and returns where.
func write(t testing.TB, p testkit.Plain) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "images")
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name := range p {
		if err := os.Chtimes(filepath.Join(dir, name), dumped(), dumped()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMagic(t *testing.T) {
	known := magic.LoadMagic().ByName
	for name, number := range map[string]uint32{
		"IMG_COMMON": commonMagic, "IMG_SERVICE": serviceMagic, "INVENTORY": inventoryMagic, "PSTREE": pstreeMagic,
		"CORE": coreMagic, "IDS": idsMagic, "TIMENS": timensMagic, "STATS": statsMagic,
	} {
		if uint64(number) != known[name] {
			t.Errorf("%s is %#x, want %#x", name, number, known[name])
		}
	}
}

func TestState(t *testing.T) {
	s, err := State(write(t, testkit.PlainTree()))
	if err != nil {
		t.Fatal(err)
	}
	want := clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic: 93_784_005_000_000, MonotonicCoarse: 93_784_005_000_000, Boottime: 93_900_005_000_000,
		},
		Realtime: clockstate.Nanos(dumped().UnixNano()),
	}
	if s.Freeze != want || s.FreezeSource != clockstate.FreezeImported || s.FreezeWindow != 20_500_000 {
		t.Errorf("frozen at %+v (%v), within %v", s.Freeze, s.FreezeSource, s.FreezeWindow)
	}
	if s.RootPID != 4711 || s.Engine != "criu" || s.Host != (clockstate.Host{}) {
		t.Errorf("root %d, engine %q, host %+v", s.RootPID, s.Engine, s.Host)
	}
	process := func(pid, parent, threads int32, comm string) clockstate.Process {
		return clockstate.Process{
			PID: pid, OuterPID: pid, ParentPID: parent, Comm: comm, Threads: threads,
			Namespace: 1, NamespaceForChildren: 1, Readings: want.Readings,
		}
	}
	// The zombie reads no clock.
	if got := s.Processes; !slices.Equal(got, []clockstate.Process{process(4711, 0, 5, "server"), process(4712, 4711, 1, "hel\xffper")}) {
		t.Errorf("processes %+v", got)
	}
}

// first is the first message of an image.
func first[M proto.Message](p testkit.Plain, name string) M { return p[name].Messages[0].(M) }

// moveInto puts the whole tree into a time namespace of its own.
func moveInto(p testkit.Plain, space uint32) {
	for _, name := range []string{"ids-4711.img", "ids-4712.img"} {
		first[*criucore.TaskKobjIdsEntry](p, name).TimeNsId = proto.Uint32(space)
	}
}

func TestStateOfOwnTimeNamespace(t *testing.T) {
	p := testkit.PlainTree()
	moveInto(p, 9)
	p["timens-9.img"] = p["timens-0.img"]
	delete(p, "timens-0.img")
	s, err := State(write(t, p))
	if err != nil {
		t.Fatal(err)
	}
	if s.Processes[0].Namespace != 9 {
		t.Errorf("the tree is in %d, want 9", s.Processes[0].Namespace)
	}
}

func TestStateOfOwnPIDNamespace(t *testing.T) {
	p := testkit.PlainTree()
	for _, name := range []string{"ids-4711.img", "ids-4712.img"} {
		first[*criucore.TaskKobjIdsEntry](p, name).PidNsId = proto.Uint32(8)
	}
	s, err := State(write(t, p))
	if err != nil {
		t.Fatal(err)
	}
	root, helper := s.Processes[0], s.Processes[1]
	if root.PID != 4711 || root.OuterPID < clockstate.PIDLimit || s.RootPID != root.OuterPID || helper.ParentPID != root.OuterPID {
		t.Errorf("root %+v, its child %+v", root, helper)
	}
}

// TestStateWithout leaves out what can be done without.
func TestStateWithout(t *testing.T) {
	p := testkit.PlainTree()
	delete(p, "stats-dump")
	dir := write(t, p)
	if err := os.Chtimes(filepath.Join(dir, "timens-0.img"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := State(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.FreezeWindow != 0 || s.Freeze.Realtime != 0 {
		t.Errorf("window %v, wall clock %v", s.FreezeWindow, s.Freeze.Realtime)
	}
}

func TestStateRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(p testkit.Plain)
		want error
		says string
	}{
		{"no clocks", func(p testkit.Plain) { delete(p, "timens-0.img") }, ErrNoClocks, "--unprivileged"},
		{"clocks of two namespaces", func(p testkit.Plain) { p["timens-9.img"] = p["timens-0.img"] }, engine.ErrUnsupported, "timens-9.img"},
		{"another namespace's clocks", func(p testkit.Plain) { moveInto(p, 9) }, engine.ErrUnsupported, "ids-4711.img"},
		{"a namespace with another name", func(p testkit.Plain) {
			p["timens-x.img"] = p["timens-0.img"]
			delete(p, "timens-0.img")
		}, image.ErrAltered, "timens-x.img"},
		{"more nanoseconds than a second has", func(p testkit.Plain) {
			first[*timens.TimensEntry](p, "timens-0.img").Monotonic.TvNsec = proto.Uint64(1_000_000_000)
		}, image.ErrAltered, "timens-0.img"},
		{"more seconds than there are", func(p testkit.Plain) {
			first[*timens.TimensEntry](p, "timens-0.img").Boottime.TvSec = proto.Uint64(1 << 63)
		}, image.ErrAltered, "timens-0.img"},
		{"two entries of clocks", func(p testkit.Plain) {
			p["timens-0.img"] = testkit.PlainImage{Kind: "TIMENS", Messages: slices.Repeat(p["timens-0.img"].Messages, 2)}
		}, image.ErrAltered, "2 entries"},
		{"a pre-dump", func(p testkit.Plain) { delete(p, "pstree.img") }, image.ErrMissing, "pstree.img"},
		{"no inventory", func(p testkit.Plain) { delete(p, "inventory.img") }, image.ErrMissing, "inventory.img"},
		{"no core", func(p testkit.Plain) { delete(p, "core-4712.img") }, image.ErrMissing, "core-4712.img"},
		{"no ids", func(p testkit.Plain) { delete(p, "ids-4711.img") }, image.ErrMissing, "ids-4711.img"},
		{"another kind", func(p testkit.Plain) { p["pstree.img"] = p["core-4711.img"] }, image.ErrAltered, "should begin"},
		{"no process", func(p testkit.Plain) { p["pstree.img"] = testkit.PlainImage{Kind: "PSTREE"} }, image.ErrAltered, "root"},
		{"process 0", func(p testkit.Plain) { first[*pstree.PstreeEntry](p, "pstree.img").Pid = proto.Uint32(0) }, image.ErrAltered, "pstree.img"},
		{"a process beyond all", func(p testkit.Plain) { first[*pstree.PstreeEntry](p, "pstree.img").Pid = proto.Uint32(1 << 22) }, image.ErrAltered, "4194304"},
		{"one process twice", func(p testkit.Plain) {
			p["pstree.img"].Messages[1] = p["pstree.img"].Messages[0]
		}, image.ErrAltered, "twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := testkit.PlainTree()
			tc.harm(p)
			if s, err := State(write(t, p)); s != nil || !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, %v, want %v that says %q", s, err, tc.want, tc.says)
			}
		})
	}
}

// TestStateOfCutFiles cuts each file everywhere: never is there a state that does not
// hold, and the one file that is not needed does no harm.
func TestStateOfCutFiles(t *testing.T) {
	p := testkit.PlainTree()
	dir := write(t, p)
	for name := range p {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range data {
			if err := os.WriteFile(path, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := State(dir)
			// A file of whole messages that are too few is one of the other kind of harm.
			if needed := name != "stats-dump" && name != "core-4713.img"; needed && err == nil && name != "pstree.img" {
				t.Errorf("%s of %d bytes was believed", name, n)
			}
			checkAnswer(t, s, err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// checkAnswer checks that there is a valid state, or an error of those that State names.
func checkAnswer(t *testing.T, s *clockstate.State, err error) {
	t.Helper()
	known := slices.ContainsFunc([]error{ErrNoClocks, engine.ErrUnsupported, image.ErrMissing, image.ErrAltered},
		func(target error) bool { return errors.Is(err, target) })
	if (s == nil) != known {
		t.Errorf("state %v with error %v", s, err)
	}
	if s == nil {
		return
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWallClock(t *testing.T) {
	for _, tc := range []struct {
		name string
		date time.Time
		want clockstate.Nanos
	}{
		{"usual", time.Unix(1_700_000_000, 5), 1_700_000_000_000_000_005},
		{"of a reproducible archive", time.Unix(0, 0), 0},
		{"before 1970", time.Unix(-5, 0), 0},
		{"before time namespaces", time.Date(2019, 12, 31, 23, 59, 59, 0, time.UTC), 0},
		{"beyond what can be counted", time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), 0},
	} {
		if got := wallClock(tc.date); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

// FuzzSplit checks that what split takes apart is all of the file.
func FuzzSplit(f *testing.F) {
	dir := write(f, testkit.PlainTree())
	kinds := []struct {
		name  string
		magic uint32
	}{{"inventory.img", inventoryMagic}, {"pstree.img", pstreeMagic}, {"stats-dump", statsMagic}}
	for i, k := range kinds {
		data, err := os.ReadFile(filepath.Join(dir, k.name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), data)
		f.Add(uint8(i), data[:len(data)-1])
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		k := kinds[int(which)%len(kinds)]
		messages, err := split(data, k.magic)
		if err != nil {
			return
		}
		head := 8
		if k.magic == inventoryMagic {
			head = 4
		}
		again := slices.Clone(data[:head])
		for _, m := range messages {
			again = append(binary.LittleEndian.AppendUint32(again, uint32(len(m))), m...)
		}
		if string(again) != string(data) {
			t.Errorf("%x was taken apart as %x", data, messages)
		}
	})
}

// FuzzState has one file hold anything.
func FuzzState(f *testing.F) {
	p := testkit.PlainTree()
	names := []string{"inventory.img", "timens-0.img", "pstree.img", "core-4711.img", "ids-4711.img", "stats-dump"}
	dir := write(f, p)
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), data)
		f.Add(uint8(i), append(slices.Clone(data), data...))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		dir := write(t, p)
		if err := os.WriteFile(filepath.Join(dir, names[int(which)%len(names)]), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := State(dir)
		checkAnswer(t, s, err)
	})
}
