// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// way is a way to create a namespace.
type way struct {
	name   string
	create func() (*Holder, error)
}

// ways are all that there are. Each is tested on every kernel that has it,
// whichever NewHolder would choose there.
var ways = []way{
	{"clone3", newChildHolder},
	{"unshare", newThreadHolder},
}

// need skips a test of a way that this kernel does not have: that of clone3 came
// between Linux 6.1 and 6.12, and is said to have come in 6.3. The test fails if
// it is not there later.
func (w way) need(t *testing.T) {
	t.Helper()
	h, err := w.create()
	if err == nil {
		err = h.Close()
	}
	if w.name == "clone3" && errors.Is(err, ErrNotSupported) && kernelBefore(t, 6, 3) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kernelBefore tells whether this kernel is older than a version.
func kernelBefore(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var have [2]int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &have[0], &have[1]); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	return slices.Compare(have[:], []int{major, minor}) < 0
}

// eachWay runs a test for both ways, with a holder that is closed afterwards.
func eachWay(t *testing.T, test func(t *testing.T, h *Holder)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			way.need(t)
			h, err := way.create()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			test(t, h)
		})
	}
}

// checkShift compares a helper's clocks with ours: its clocks were read between
// the two in around, and differ by the offsets.
func checkShift(t *testing.T, r report, around [2][4]int64, o clockstate.Offsets) {
	t.Helper()
	before, after := around[0], around[1]
	got := [4]int64{r.Monotonic, r.Raw, r.Coarse, r.Boottime}
	for i, name := range []string{"MONOTONIC", "MONOTONIC_RAW", "MONOTONIC_COARSE", "BOOTTIME"} {
		shift := int64(o.Monotonic)
		if i == 3 {
			shift = int64(o.Boottime)
		}
		if got[i] < before[i]+shift || got[i] > after[i]+shift {
			t.Errorf("%s: %d is not within [%d, %d] shifted by %d", name, got[i], before[i], after[i], shift)
		}
	}
}

func clocks() [4]int64 {
	return [4]int64{now(unix.CLOCK_MONOTONIC), now(unix.CLOCK_MONOTONIC_RAW), now(unix.CLOCK_MONOTONIC_COARSE), now(unix.CLOCK_BOOTTIME)}
}

func TestExecSeesOffsets(t *testing.T) {
	offsets := map[string]clockstate.Offsets{
		"none":        {},
		"forward":     {Monotonic: 1000_000_000_001, Boottime: 5000_999_999_999},
		"a month":     {Monotonic: 30 * 86400e9, Boottime: 60 * 86400e9},
		"a bit back":  {Monotonic: -1, Boottime: -1_045_497_039},
		"one of each": {Monotonic: 17e9, Boottime: -3e9 + 1},
	}
	for name, o := range offsets {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, h *Holder) {
				before := clocks()
				r := decode[report](t, output(t, helper(t, "report"), func(c Command) (*Process, error) { return startIn(h, c, o) }))
				checkShift(t, r, [2][4]int64{before, clocks()}, o)
				if r.Own != h.ID() || r.ForChildren != h.ID() {
					t.Errorf("program is in time:[%d], children in time:[%d]; want both time:[%d]", r.Own, r.ForChildren, h.ID())
				}
			})
		})
	}
}

func TestOffsetsOfStarted(t *testing.T) {
	want := clockstate.Offsets{Monotonic: 123_456_789_012, Boottime: 7}
	p, err := Start(Command{Path: "/bin/sleep", Args: []string{"sleep", "1000"}}, want)
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	if got, err := OffsetsOf(p.PID); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestSetOffsetsAgainAndLate(t *testing.T) {
	eachWay(t, func(t *testing.T, h *Holder) {
		last := clockstate.Offsets{Monotonic: 5e9, Boottime: 6e9}
		for _, o := range []clockstate.Offsets{{Monotonic: 1}, {Boottime: -1}, {}, last} {
			if err := h.SetOffsets(o); err != nil {
				t.Fatal(err)
			}
		}
		before := clocks()
		r := decode[report](t, output(t, helper(t, "report"), h.Exec))
		checkShift(t, r, [2][4]int64{before, clocks()}, last)
	})
}

func TestSetOffsetsFrozen(t *testing.T) {
	eachWay(t, func(t *testing.T, h *Holder) {
		p, err := h.Exec(Command{Path: "/bin/sleep", Args: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.SetOffsets(clockstate.Offsets{Monotonic: 1e9}); !errors.Is(err, ErrFrozen) || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ESRCH) {
			t.Errorf("the program runs: got %v, want ErrFrozen with the kernel's reason", err)
		}
		p.end()
		if err := h.SetOffsets(clockstate.Offsets{Monotonic: 1e9}); !errors.Is(err, ErrFrozen) {
			t.Errorf("the program is gone: got %v, want ErrFrozen", err)
		}
	})
}

// A join from outside freezes as well: this is how the late join of a restore
// ends the time for writing.
func TestSetOffsetsFrozenByJoin(t *testing.T) {
	eachWay(t, func(t *testing.T, h *Holder) {
		if err := h.SetOffsets(clockstate.Offsets{Monotonic: 9e9}); err != nil {
			t.Fatal(err)
		}
		w, err := newWaiter(forkInto(h.FD()))
		if err != nil {
			t.Fatal(err)
		}
		defer w.dismiss()
		if own, _, err := IDOf(w.process.PID); err != nil || own != h.ID() {
			t.Errorf("joined time:[%d], %v; want time:[%d]", own, err, h.ID())
		}
		if err := h.SetOffsets(clockstate.Offsets{}); !errors.Is(err, ErrFrozen) || !errors.Is(err, unix.EACCES) {
			t.Errorf("got %v, want ErrFrozen with EACCES", err)
		}
	})
}

func TestSetOffsetsRange(t *testing.T) {
	const limit = 4_611_686_018 // Half of KTIME_SEC_MAX.
	eachWay(t, func(t *testing.T, h *Holder) {
		mono, boot := now(unix.CLOCK_MONOTONIC)/1e9, now(unix.CLOCK_BOOTTIME)/1e9
		tests := []struct {
			name      string
			mono, boo int64
			ok        bool
		}{
			{"monotonic at zero", -mono, 0, true},
			{"monotonic below zero", -mono - 60, 0, false},
			{"boottime at zero", 0, -boot, true},
			{"boottime below zero", 0, -boot - 60, false},
			{"both near the top", limit - mono - 60, limit - boot - 60, true},
			{"monotonic above the top", limit - mono + 60, 0, false},
			{"boottime above the top", 0, limit - boot + 60, false},
		}
		for _, tt := range tests {
			kept := clockstate.Offsets{Monotonic: 3e9, Boottime: 4e9}
			if err := h.SetOffsets(kept); err != nil {
				t.Fatal(err)
			}
			err := h.SetOffsets(clockstate.Offsets{Monotonic: clockstate.Nanos(tt.mono) * 1e9, Boottime: clockstate.Nanos(tt.boo) * 1e9})
			if tt.ok {
				if err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				continue
			}
			if !errors.Is(err, ErrOutOfRange) || !errors.Is(err, unix.ERANGE) {
				t.Errorf("%s: got %v, want ErrOutOfRange with ERANGE", tt.name, err)
			}
			if got, err := ReadOffsets(h.offsets.pid); err != nil || got != kept {
				t.Errorf("%s: refused, but the offsets are now %+v, %v; want %+v", tt.name, got, err, kept)
			}
		}
	})
}

// The trap: without CLONE_VM the call succeeds just the same, but the child is
// born inside and its offsets are frozen at zero. Nobody may drop CLONE_VM from
// clone3Outside, however superfluous it looks.
func TestTrapCloneWithoutVM(t *testing.T) {
	w, err := newWaiter(how{clone3: unix.CLONE_NEWTIME | unix.CLONE_CLEAR_SIGHAND})
	if err != nil {
		t.Fatal(err)
	}
	defer w.dismiss()
	own, forChildren, err := IDOf(w.process.PID)
	if err != nil {
		t.Fatal(err)
	}
	ours, _, err := IDOf(0)
	if err != nil {
		t.Fatal(err)
	}
	if own != forChildren || own == ours {
		t.Errorf("child in time:[%d], its children in time:[%d], we in time:[%d]; want the child born inside a new one", own, forChildren, ours)
	}
	of, err := openOffsets(w.process.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	if err := of.write(clockstate.Offsets{Monotonic: 1e9}); !errors.Is(err, ErrFrozen) {
		t.Errorf("write: %v, want ErrFrozen", err)
	}
}

// The other trap: entering by a process's pidfd instead of the namespace's own
// descriptor. It succeeds and joins the namespace that the holder's child is in,
// which is the old one.
func TestTrapJoinByPidfd(t *testing.T) {
	ways[0].need(t)
	w, err := newWaiter(clone3Outside())
	if err != nil {
		t.Fatal(err)
	}
	defer w.dismiss()
	joined, err := newWaiter(forkInto(w.process.PIDFD))
	if err != nil {
		t.Fatal(err)
	}
	defer joined.dismiss()
	own, _, err := IDOf(joined.process.PID)
	ours, _, err2 := IDOf(0)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if own != ours {
		t.Errorf("joined time:[%d]; the kernel used to join the old one, time:[%d]", own, ours)
	}
}

func TestExecOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, h *Holder) {
		output(t, helper(t, "report"), h.Exec)
		if _, err := h.Exec(Command{Path: "/bin/true"}); !errors.Is(err, ErrClosed) {
			t.Errorf("second Exec: %v, want ErrClosed", err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := h.SetOffsets(clockstate.Offsets{}); !errors.Is(err, ErrClosed) {
			t.Errorf("SetOffsets after Close: %v, want ErrClosed", err)
		}
	})
}

func TestExecFailures(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		c    Command
		want error
		says string
	}{
		{"no such program", Command{Path: "/nonexistent"}, unix.ENOENT, "start /nonexistent: execve: no such file"},
		{"not a program", Command{Path: text}, unix.ENOEXEC, "execve"},
		{"a directory", Command{Path: "/"}, unix.EACCES, "execve"},
		{"no such directory", Command{Path: "/bin/true", Dir: "/nonexistent"}, unix.ENOENT, "change directory"},
		{"zero byte", Command{Path: "/bin/true", Args: []string{"true", "a\x00b"}}, unix.EINVAL, "zero byte"},
		{"no path", Command{}, nil, "no path"},
		{"too many files", Command{Path: "/bin/true", Files: slices.Repeat([]*os.File{os.Stdin}, 251)}, nil, "at most 250"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, h *Holder) {
				before := children(t)
				own := h.pids()
				p, err := h.Exec(tt.c)
				if err == nil {
					p.end()
					t.Fatal("it started")
				}
				if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %v with %q", err, tt.want, tt.says)
				}
				for _, pid := range children(t) {
					if !slices.Contains(before, pid) && !slices.Contains(own, pid) {
						t.Errorf("process %d is left behind", pid)
					}
				}
			})
		})
	}
}

// pids are the processes that a holder keeps.
func (h *Holder) pids() []int {
	if s, is := h.stand.(*childStand); is {
		return []int{s.w.process.PID}
	}
	return nil
}

// children lists this process's children, zombies included.
func children(t *testing.T) []int {
	t.Helper()
	var pids []int
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestExecState(t *testing.T) {
	dir := t.TempDir()
	eachWay(t, func(t *testing.T, h *Holder) {
		c := helper(t, "report")
		c.Dir, c.Args, c.Setpgid = dir, []string{"name", "", "an argument"}, true
		r := decode[report](t, output(t, c, h.Exec))
		if r.Dir != dir || !slices.Equal(r.Args, c.Args) || r.PGID != r.PID {
			t.Errorf("got %+v", r)
		}
	})
}

func TestExecFiles(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// One that is deliberately not close-on-exec: it must not arrive either.
	loose, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loose)
	eachWay(t, func(t *testing.T, h *Holder) {
		// test is built into the shell: nothing is opened to look.
		const look = "for fd in 0 1 2 3 4 5 6 7 8 9 10 11 12 20 50 99; do if test -e /proc/$$/fd/$fd; then echo $fd; fi; done; exec readlink /proc/$$/fd/0 /proc/$$/fd/3 /proc/$$/fd/5"
		c := Command{Path: "/bin/sh", Args: []string{"sh", "-c", look}, Files: []*os.File{f, nil, f}}
		want := "0\n1\n2\n3\n5\n/dev/null\n" + f.Name() + "\n" + f.Name() + "\n"
		if text := string(output(t, c, h.Exec)); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	})
}

// Handlers become defaults and ignored signals stay ignored, as exec has it.
func TestExecSignals(t *testing.T) {
	signal.Ignore(unix.SIGUSR2)
	defer signal.Reset(unix.SIGUSR2)
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	// Whoever started this test may have had it ignore more, as nohup does.
	want := sigset(t, string(own), "SigIgn")
	if want&(1<<(unix.SIGUSR2-1)) == 0 {
		t.Fatalf("this test ignores %x only", want)
	}
	eachWay(t, func(t *testing.T, h *Holder) {
		text := string(output(t, Command{Path: "/bin/cat", Args: []string{"cat", "/proc/self/status"}}, h.Exec))
		if blocked, caught := sigset(t, text, "SigBlk"), sigset(t, text, "SigCgt"); blocked != 0 || caught != 0 {
			t.Errorf("blocked %x, caught %x; want none", blocked, caught)
		}
		if got := sigset(t, text, "SigIgn"); got != want {
			t.Errorf("ignored %x, want %x", got, want)
		}
	})
}

// sigset finds a set of signals in the text of a status file.
func sigset(t *testing.T, text, name string) uint64 {
	t.Helper()
	for line := range strings.Lines(text) {
		var set uint64
		if n, _ := fmt.Sscanf(line, name+":\t%x", &set); n == 1 {
			return set
		}
	}
	t.Fatalf("no %s in %q", name, text)
	return 0
}

func TestExecManyFiles(t *testing.T) {
	dir := t.TempDir()
	var files []*os.File
	var want strings.Builder
	for i := range maxCommandFiles - 3 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "file %d", i)
		fmt.Fprintf(&want, "%d=file %d\n", i+3, i)
		files = append(files, f)
	}
	eachWay(t, func(t *testing.T, h *Holder) {
		if got := output(t, helper(t, "many-files", files...), h.Exec); string(got) != want.String() {
			t.Errorf("got %q, want %q", got, want.String())
		}
	})
}

// Many starts while other goroutines allocate, collect and start processes of
// their own: the child must not disturb the runtime, nor the runtime the child.
func TestManyStartsBusy(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	var stop atomic.Bool
	for range 4 {
		go busy(&stop)
	}
	defer stop.Store(true)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			way.need(t)
			for i := range rounds {
				startTrue(t, way.create, clockstate.Offsets{Monotonic: clockstate.Nanos(i) * 1e9})
			}
		})
	}
}

// startTrue starts a program that succeeds at once, and reaps it.
func startTrue(t *testing.T, create func() (*Holder, error), o clockstate.Offsets) {
	t.Helper()
	h, err := create()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p, err := startIn(h, Command{Path: "/bin/true"}, o)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil || !state.Success() {
		t.Fatalf("%v, %v", state, err)
	}
}

// busy gives the runtime something to do.
func busy(stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		garbage := make([][]byte, 0, 64)
		for range 64 {
			garbage = append(garbage, make([]byte, 4096))
		}
		runtime.KeepAlive(garbage)
		if i%50 == 0 {
			_ = exec.Command("/bin/true").Run()
		}
		if i%20 == 0 {
			runtime.GC()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Nothing stays open, no child, no thread and no memory after use, whatever the
// way of use.
func TestNoLeak(t *testing.T) {
	use := func(create func() (*Holder, error)) {
		startTrue(t, create, clockstate.Offsets{Monotonic: 1e9})
		h, err := create()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Exec(Command{Path: "/nonexistent"}); err == nil {
			t.Error("started /nonexistent")
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if h, err = create(); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if _, err := Run(os.Getpid(), Command{Path: "/nonexistent"}); err == nil {
			t.Error("ran /nonexistent")
		}
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			way.need(t)
			use(way.create) // What is opened once, such as the poller, is open now.
			fds, pids, areas := len(openFDs()), len(children(t)), sharedAreas(t)
			for range 10 {
				use(way.create)
			}
			if got := len(openFDs()); got != fds {
				t.Errorf("%d descriptors before, %d after", fds, got)
			}
			if got := len(children(t)); got != pids {
				t.Errorf("%d children before, %d after", pids, got)
			}
			if got := sharedAreas(t); got != areas {
				t.Errorf("%d shared areas before, %d after", areas, got)
			}
			waitFor(t, "threads before a new namespace are gone", func() bool { return unsharedThreads() == 0 })
		})
	}
}

// sharedAreas counts this process's shared anonymous mappings.
func sharedAreas(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "/dev/zero (deleted)")
}

// unsharedThreads counts our threads whose children would live elsewhere.
func unsharedThreads() int {
	links, _ := filepath.Glob("/proc/self/task/*/ns/time_for_children")
	n := 0
	for _, link := range links {
		forChildren, err := os.Readlink(link)
		own, err2 := os.Readlink(strings.TrimSuffix(link, "_for_children"))
		if err == nil && err2 == nil && own != forChildren {
			n++
		}
	}
	return n
}

// waitFor polls until a condition holds, for at most ten seconds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				h, err := way.create()
				if err != nil {
					b.Fatal(err)
				}
				h.Close()
			}
		})
	}
}

func BenchmarkSetOffsets(b *testing.B) {
	h, err := NewHolder()
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for b.Loop() {
		if err := h.SetOffsets(clockstate.Offsets{Monotonic: 1e9, Boottime: 2e9}); err != nil {
			b.Fatal(err)
		}
	}
}
