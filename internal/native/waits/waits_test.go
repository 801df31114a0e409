// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// sleeper is a thread of testdata/sleepers.c.
type sleeper struct {
	name  string
	tid   int
	clock int32
	at    int64
}

// sleepers starts the program.
func sleepers(t *testing.T) (pid int, all []sleeper) {
	t.Helper()
	cmd := exec.Command(testkit.Build(t, "sleepers.c"))
	if testkit.StartReady(t, cmd) != "ready\n" {
		t.Fatalf("it said %q", testkit.Said(t, cmd))
	}
	for line := range strings.Lines(testkit.Said(t, cmd)) {
		var s sleeper
		if _, err := fmt.Sscanf(line, "%s %d %d %d", &s.name, &s.tid, &s.clock, &s.at); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, s)
	}
	return cmd.Process.Pid, all
}

// open opens a Reader until the end of the test.
func open(t testing.TB) *Reader {
	t.Helper()
	r, err := Open(1)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// after is how long after a sleeper has read the clock it goes to sleep, at most.
const after = int64(250e6)

// slack is the timer slack of the sleepers, which the kernel adds to nanosleeps.
const slack = 50_000

func TestRead(t *testing.T) {
	r := open(t)
	pid, all := sleepers(t)
	before, err := r.Read([]int{pid})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		got, ok := before[s.tid]
		if !ok {
			t.Errorf("nothing is known of %s", s.name)
			continue
		}
		checkTimer(t, s, got.Timer)
	}
	nativetest.Frozen(t, pid, func(*ptrace.Tree, []*remote.Runner) error {
		stopped, err := r.Read([]int{pid})
		if err != nil {
			return err
		}
		for _, s := range all {
			was, is := before[s.tid], stopped[s.tid]
			if n := is.Switches - was.Switches; n > 1 {
				t.Errorf("%s has left the processor %d times although it slept", s.name, n)
			}
			kept := map[string]Deadline{"nanosleep": is.Sleep, "boottime": is.Sleep, "poll": is.Poll, "futex": is.Futex}
			kinds := map[string]Kind{"nanosleep": Sleep, "boottime": Sleep, "poll": Poll, "futex": Futex}
			if is.Restarts != kinds[s.name] {
				t.Errorf("the kernel would go on with kind %d after %s", is.Restarts, s.name)
			}
			d, ok := kept[s.name]
			if late := d.At - was.Timer.At; ok && (d.Clock != was.Timer.Clock || late < 0 || late > slack) {
				t.Errorf("interrupted %s is to end at %+v, its timer was %+v", s.name, d, was.Timer)
			}
		}
		return nil
	})
}

// checkTimer compares a timer with what the thread has said of it.
func checkTimer(t *testing.T, s sleeper, d Deadline) {
	t.Helper()
	if s.clock < 0 {
		if d.Known() {
			t.Errorf("%s has a timer: %+v", s.name, d)
		}
		return
	}
	fuzz := int64(0)
	if s.name == "recv" {
		fuzz = d.Fuzz
	}
	if d.Clock != s.clock || d.At < s.at-fuzz || d.At > s.at+after+fuzz || d.Fuzz != fuzz {
		t.Errorf("the timer of %s is %+v, want one on clock %d from %d to %d", s.name, d, s.clock, s.at, s.at+after)
	}
}

// TestOtherProcesses sees to it that only those are told of that are asked about.
func TestOtherProcesses(t *testing.T) {
	r := open(t)
	threads, err := r.Read([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for tid := range threads {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err != nil {
			t.Errorf("thread %d is another process's", tid)
		}
	}
	if _, ok := threads[os.Getpid()]; !ok {
		t.Error("the first thread is missing")
	}
	if threads, err = r.Read(nil); err != nil || len(threads) != 0 {
		t.Errorf("got %v, %v for nobody", threads, err)
	}
}

// TestTick checks what the kernel tells of its tick.
func TestTick(t *testing.T) {
	length, err := tick()
	if err != nil || length < 100_000 || length > 10_000_000 {
		t.Errorf("got %d, %v", length, err)
	}
}

// TestThread gives numbers their meaning.
func TestThread(t *testing.T) {
	const tick = 4_000_000
	w := wait{Timer: coarse, At: 5, Ticks: ^uint64(0), Now: 1000}
	if got, want := w.thread(tick).Timer, (Deadline{unix.CLOCK_MONOTONIC, 1000 + 6*tick, tick}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if w := (&wait{Poll: 1}).thread(tick); w.Poll.Known() || w.Timer.Known() {
		t.Errorf("a wait without a limit is %+v", w)
	}
}

func TestKindOf(t *testing.T) {
	for function, want := range map[string]Kind{
		"hrtimer_nanosleep_restart": Sleep, "do_restart_poll.llvm.17": Poll, "futex_wait_restart": Futex,
		"do_no_restart_syscall": Unknown, "0x0": Unknown, "": Unknown,
	} {
		if got := kindOf(function); got != want {
			t.Errorf("%q is of kind %d, want %d", function, got, want)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		r, err := Open(1)
		if err != nil {
			b.Skip(err)
		}
		r.Close()
	}
}

func BenchmarkRead(b *testing.B) {
	r := open(b)
	for b.Loop() {
		if _, err := r.Read([]int{os.Getpid()}); err != nil {
			b.Fatal(err)
		}
	}
}
