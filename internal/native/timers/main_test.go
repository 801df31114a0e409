// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// target is a running testdata/timers.c.
type target struct {
	*exec.Cmd
	t    testing.TB
	said string
}

// start runs the program in a session of its own, until the end of the test, and
// returns when its timers are made.
func start(t *testing.T, mode ...string) *target {
	t.Helper()
	x := &target{t: t, Cmd: exec.Command(testkit.Build(t, "timers.c"), mode...)}
	testkit.StartReady(t, x.Cmd)
	x.said = testkit.Said(t, x.Cmd)
	return x
}

func (x *target) pid() int { return x.Process.Pid }

// end kills the program, so that its number is free.
func (x *target) end() { testkit.Kill(x.t, x.pid()) }

// made is a timer as the program tells of it.
type made struct {
	id          int32
	timeline    int32
	first, last int64 // When it is due, on that clock. 0: it does not run. -1: on CPU time. -2: at any time.
	interval    int64
}

// timers are those that the program told of.
func (x *target) timers(t *testing.T) []made {
	t.Helper()
	var list []made
	for line := range strings.Lines(x.said) {
		if !strings.HasPrefix(line, "timer ") {
			continue
		}
		var m made
		if _, err := fmt.Sscanf(line, "timer %d %d %d %d %d\n", &m.id, &m.timeline, &m.first, &m.last, &m.interval); err != nil {
			t.Fatalf("the program said %q: %v", line, err)
		}
		list = append(list, m)
	}
	if len(list) == 0 {
		t.Fatalf("the program said %q", x.said)
	}
	return list
}

// traced runs f as the tracer.
func traced(t testing.TB, f func(*ptrace.Tracer) error) {
	t.Helper()
	if err := ptrace.Run(f); err != nil {
		t.Fatal(err)
	}
}

// frozen runs f with the program stopped.
func (x *target) frozen(t *testing.T, f func(r *remote.Runner, p *ptrace.Process) error) {
	t.Helper()
	nativetest.Frozen(t, x.pid(), func(tree *ptrace.Tree, runners []*remote.Runner) error {
		return f(runners[0], tree.Processes[0])
	})
}

// instant is what crtime's clocks read at one moment.
type instant map[int32]int64

// readInstant reads the clocks, so close to each other that the thread was not
// interrupted in between.
func readInstant(t testing.TB) instant {
	t.Helper()
	for {
		i := instant{}
		begun := time.Now()
		for _, clock := range []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME} {
			var err error
			if i[clock], err = now(clock); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begun) < 20*time.Microsecond {
			return i
		}
	}
}

func (i instant) of(clock int32) int64 {
	if i[clock] == 0 {
		return math.MinInt64 // It is no timeline: no test can come out right then.
	}
	return i[clock]
}

// newSet makes a set with one living process and nothing else.
func newSet(pid uint32, tids ...uint32) *criuimg.Set {
	s := criuimg.NewSet()
	s.Tree = []*pstree.PstreeEntry{{
		Pid: proto.Uint32(pid), Ppid: proto.Uint32(0), Pgid: proto.Uint32(pid), Sid: proto.Uint32(pid),
		Threads: append([]uint32{pid}, tids...),
	}}
	p := &criuimg.Process{Core: &criu_core.CoreEntry{Tc: &criu_core.TaskCoreEntry{
		TaskState: proto.Uint32(criuimg.TaskAlive), Comm: proto.String("test"),
	}}}
	for _, tid := range tids {
		if p.Threads == nil {
			p.Threads = map[uint32]*criu_core.CoreEntry{}
		}
		p.Threads[tid] = &criu_core.CoreEntry{}
	}
	s.Process[pid] = p
	return s
}

// dump reads the timers of the program into a set, with crtime's clocks at the
// instant of the freeze.
func (x *target) dump(t *testing.T) (*criuimg.Set, instant) {
	t.Helper()
	var tids []uint32
	all, err := proc.Threads(x.pid())
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range all {
		if tid != x.pid() {
			tids = append(tids, uint32(tid))
		}
	}
	s := newSet(uint32(x.pid()), tids...)
	var at instant
	x.frozen(t, func(r *remote.Runner, _ *ptrace.Process) error {
		at = readInstant(t)
		return Collect([]Target{{x.pid(), r}}, s, at.of)
	})
	return s, at
}
