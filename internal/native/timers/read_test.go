// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/testkit"
)

// late is by how much a timer may seem to be due later than it is: what lies
// between two system calls, on a machine that does other things too.
const late = 100 * time.Microsecond

// TestLeftIsExact compares what the images say with what the program set.
func TestLeftIsExact(t *testing.T) {
	for _, mode := range []string{"wall", "cpu"} {
		t.Run(mode, func(t *testing.T) {
			x := start(t, mode)
			s, frozen := x.dump(t)
			all := s.Process[uint32(x.pid())].Core.Tc.Timers
			byID := map[int32]*timer.PosixTimerEntry{}
			for _, e := range all.Posix {
				byID[int32(e.GetItId())] = e
			}
			posix := 0
			for _, m := range x.timers(t) {
				left, interval := itimerTimes(all.Real)
				if m.id != IntervalTimer {
					posix++
					e := byID[m.id]
					if e == nil {
						t.Errorf("timer %d is missing", m.id)
						continue
					}
					left, interval = posixTimes(e)
					if (m.timeline == unix.CLOCK_REALTIME && m.first > 0 && clockID(e.GetClockId()) == unix.CLOCK_REALTIME &&
						e.GetItSigevNotify() != notifyNone) != absolute(e) {
						t.Errorf("timer %d: absolute = %v", m.id, absolute(e))
					}
				}
				if interval != m.interval {
					t.Errorf("timer %d: interval %d, want %d", m.id, interval, m.interval)
				}
				m.compare(t, left, frozen)
			}
			if posix != len(all.Posix) {
				t.Errorf("%d POSIX timers, want %d", len(all.Posix), posix)
			}
			if err := Check(s); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

// compare checks what was left of a timer at an instant.
func (m made) compare(t *testing.T, left int64, frozen instant) {
	t.Helper()
	switch m.first {
	case 0:
		if left != 0 {
			t.Errorf("timer %d: %d ns are left, but it does not run", m.id, left)
		}
	case -1, -2:
		if left <= 0 || m.first == -1 && left > 500*nanosPerSecond {
			t.Errorf("timer %d: %d ns are left", m.id, left)
		}
	default:
		from, to := m.first-frozen.of(m.timeline), m.last-frozen.of(m.timeline)+int64(late)
		if left < from || left > to {
			t.Errorf("timer %d: %d ns are left, want between %d and %d (%d more)", m.id, left, from, to, to-from)
		}
		t.Logf("timer %d: between %d and %d ns late", m.id, left-(m.last-frozen.of(m.timeline)), left-from)
	}
}

// TestLikeCRIU compares what this package says of a process with what CRIU says.
func TestLikeCRIU(t *testing.T) {
	criu := testkit.CRIU(t)
	for _, mode := range []string{"wall", "cpu", "threads", "caught"} {
		t.Run(mode, func(t *testing.T) {
			x := start(t, mode)
			ours, _ := x.dump(t)
			theirs, _ := nativetest.DumpByCRIU(t, criu, x.pid(), "--leave-running")
			if err := Check(theirs); err != nil {
				t.Errorf("Check of CRIU's images: %v", err)
			}
			sameTimers(t, ours.Process[uint32(x.pid())].Core.Tc.Timers, theirs.Process[uint32(x.pid())].Core.Tc.Timers)
		})
	}
}

// sameTimers compares two messages but for the time that has passed between them.
func sameTimers(t *testing.T, ours, theirs *timer.TaskTimersEntry) {
	t.Helper()
	const apart = 20 * nanosPerSecond
	near := func(name string, a, b int64) {
		if (a == 0) != (b == 0) || a < b-nanosPerSecond || a > b+apart {
			t.Errorf("%s: %d ns are left, and by CRIU %d", name, a, b)
		}
	}
	for _, pair := range [][2]*timer.ItimerEntry{{ours.Real, theirs.Real}, {ours.Virt, theirs.Virt}, {ours.Prof, theirs.Prof}} {
		a, ai := itimerTimes(pair[0])
		b, bi := itimerTimes(pair[1])
		near("an interval timer", a, b)
		if ai != bi {
			t.Errorf("an interval timer: interval %d, and by CRIU %d", ai, bi)
		}
	}
	byID := func(a, b *timer.PosixTimerEntry) int { return int(a.GetItId()) - int(b.GetItId()) }
	slices.SortFunc(ours.Posix, byID)
	slices.SortFunc(theirs.Posix, byID)
	if len(ours.Posix) != len(theirs.Posix) {
		t.Fatalf("%d POSIX timers, and by CRIU %d", len(ours.Posix), len(theirs.Posix))
	}
	for i, a := range ours.Posix {
		b := theirs.Posix[i]
		al, _ := posixTimes(a)
		bl, _ := posixTimes(b)
		near(fmt.Sprintf("timer %d", a.GetItId()), al, bl)
		a, b = proto.CloneOf(a), proto.CloneOf(b)
		a.Vsec, a.Vnsec, b.Vsec, b.Vnsec = nil, nil, nil, nil
		a.ProtoReflect().SetUnknown(nil)
		if a.GetItSigevNotify() != notifyThreadID {
			b.NotifyThreadId = nil // CRIU writes 0.
		}
		if !proto.Equal(a, b) {
			t.Errorf("timer %d is\n%v\nand by CRIU\n%v", a.GetItId(), a, b)
		}
	}
}

// TestOverrunIsRead compares the count of missed expirations with the program's.
func TestOverrunIsRead(t *testing.T) {
	x := start(t, "wall")
	s, _ := x.dump(t)
	var id, want uint32
	i := strings.Index(x.said, "overrun ")
	if _, err := fmt.Sscanf(x.said[i:], "overrun %d %d", &id, &want); err != nil || want == 0 {
		t.Fatalf("the program said %q: %v", x.said[i:], err)
	}
	for _, e := range s.Process[uint32(x.pid())].Core.Tc.Timers.Posix {
		if e.GetItId() == id && e.GetOverrun() != want {
			t.Errorf("overrun %d, want %d", e.GetOverrun(), want)
		}
	}
}

// TestExpiredMeanwhile has timers expire between Read and the reading of the
// pending signals.
func TestExpiredMeanwhile(t *testing.T) {
	const running = 5
	for left := 300; ; left *= 2 {
		x := start(t, "soon", strconv.Itoa(left))
		s := newSet(uint32(x.pid()))
		if n := expireMeanwhile(t, x, s); n == running {
			checkMeanwhile(t, s.Process[uint32(x.pid())].Core)
			return
		} else if left > 10_000 {
			t.Fatalf("%d timers run, want %d", n, running)
		}
		// The machine is busy: they had expired by the time of the freeze.
	}
}

// expireMeanwhile dumps the program's timers before, and its signals after its
// timers have expired, and returns how many ran.
func expireMeanwhile(t *testing.T, x *target, s *criuimg.Set) (running int) {
	t.Helper()
	x.frozen(t, func(r *remote.Runner, p *ptrace.Process) error {
		reading, err := Read([]Target{{x.pid(), r}}, readInstant(t).of)
		if err != nil {
			return err
		}
		takeExpired(t, p, s)
		running = len(reading.processes[0].due)
		return reading.Put(s, nil)
	})
	return running
}

// takeExpired saves the pending signals when all timers of the program have expired.
func takeExpired(t *testing.T, p *ptrace.Process, s *criuimg.Set) {
	t.Helper()
	for len(pending(t, p, true)) < 5 || len(pending(t, p, false)) < 1 {
		time.Sleep(10 * time.Millisecond)
	}
	core := s.Process[uint32(p.PID)].Core
	core.Tc.SignalsS = queue(pending(t, p, true))
	core.ThreadCore = &criu_core.ThreadCoreEntry{SignalsP: queue(pending(t, p, false))}
}

// TestExpiredBeforeRead has timers expire between the freeze and Read: they come back
// running, and none of them with less left than it had.
func TestExpiredBeforeRead(t *testing.T) {
	x := start(t, "soon", "1000")
	s := newSet(uint32(x.pid()))
	x.frozen(t, func(r *remote.Runner, p *ptrace.Process) error {
		frozen := readInstant(t)
		waiting, err := LookAtSignals([]*ptrace.Process{p})
		if err != nil {
			return err
		}
		takeExpired(t, p, s)
		stood := readInstant(t).of(unix.CLOCK_MONOTONIC) - frozen.of(unix.CLOCK_MONOTONIC)
		reading, err := Read([]Target{{x.pid(), r}}, frozen.of)
		if err != nil {
			return err
		}
		if err := reading.Put(s, waiting); err != nil {
			return err
		}
		core := s.Process[uint32(x.pid())].Core
		checkMeanwhile(t, core)
		for _, e := range core.Tc.Timers.Posix {
			left, interval := posixTimes(e)
			if interval > 0 && left > interval || interval == 0 && left < stood-int64(10*time.Millisecond) {
				t.Errorf("timer %d with period %d has %d left after %d", e.GetItId(), interval, left, stood)
			}
		}
		return nil
	})
}

// TestFirstAfter checks the expiry to which a timer is taken back.
func TestFirstAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instant := rapid.Int64Range(0, 1e18).Draw(t, "instant")
		interval := rapid.Int64Range(1, 1e12).Draw(t, "interval")
		next := rapid.Int64Range(instant-1e12, instant+1e15).Draw(t, "next")
		first := firstAfter(instant, next, interval)
		if first > next || (next-first)%interval != 0 || next > instant && (first <= instant || first > instant+interval) {
			t.Fatalf("got %d", first)
		}
	})
}

// TestRewind takes timers on BOOTTIME back to the freeze at 100, after which they were
// read.
func TestRewind(t *testing.T) {
	const id = 7
	frozen := func(int32) int64 { return 100 }
	for _, tt := range []struct {
		name                 string
		due, interval, asked int64 // due 0: it did not run when it was read, at asked.
		waited, waits        bool
		inPeriod             bool // When it was read.
		known                Wait
		standing             bool
		left                 uint64
		expires              int64 // When its signal is to be withdrawn; 0: it stays.
	}{
		{name: "due later", due: 150, interval: 10, left: 50, expires: 150},
		{name: "has expired since", due: 153, interval: 10, waits: true, left: 3, expires: 103},
		{name: "had expired before", due: 153, interval: 10, waited: true, waits: true, inPeriod: true, left: 3, standing: true},
		{name: "had expired before, known", due: 153, interval: 10, waited: true, waits: true, known: Wait{Asked: true, Stands: true}, left: 3, standing: true},
		{name: "set anew for long", due: 250, interval: 10, waited: true, waits: true, left: 150},
		{name: "set anew, known", due: 153, interval: 10, waited: true, waits: true, inPeriod: true, known: Wait{Asked: true}, left: 53},
		{name: "once, since", asked: 130, waits: true, left: 30, expires: 130},
		{name: "once, before", asked: 130, waited: true, waits: true},
		{name: "set anew", due: 150, waited: true, waits: true, left: 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := posix{id: id, clock: unix.CLOCK_BOOTTIME, signal: 40}.entry()
			e.Insec = proto.Uint64(uint64(tt.interval))
			r := reading{timers: &timer.TaskTimersEntry{Posix: []*timer.PosixTimerEntry{e}}, due: map[int32]deadline{}, asked: map[int32]deadline{}, inPeriod: map[int32]bool{id: tt.inPeriod}}
			if tt.due != 0 {
				r.due[id] = deadline{unix.CLOCK_BOOTTIME, tt.due}
				e.Vnsec = proto.Uint64(uint64(tt.due - 100))
			} else {
				r.asked[id] = deadline{unix.CLOCK_BOOTTIME, tt.asked}
			}
			waiting := map[int32]Wait{}
			if tt.waited {
				waiting[id] = tt.known
			}
			r.rewind(frozen, waiting, map[int32]bool{id: tt.waits})
			if e.GetVnsec() != tt.left || r.due[id].at != tt.expires {
				t.Errorf("%d left, expires at %d; want %d, %d", e.GetVnsec(), r.due[id].at, tt.left, tt.expires)
			}
			if standing(e) != tt.standing {
				t.Errorf("standing is %v, want %v", standing(e), tt.standing)
			}
		})
	}
}

// checkMeanwhile checks that all timers run and that no signal of those that have
// expired is left.
func checkMeanwhile(t *testing.T, core *criu_core.CoreEntry) {
	t.Helper()
	if n := len(core.ThreadCore.SignalsP.Signals); n != 0 {
		t.Errorf("%d signals of the thread are left, want none", n)
	}
	var left []unix.Signal
	for _, e := range core.Tc.SignalsS.Signals {
		left = append(left, unix.Signal(e.GetSiginfo()[0]))
	}
	slices.Sort(left)
	const rtMin = 34 // SIGRTMIN as C programs have it.
	if want := []unix.Signal{unix.SIGUSR1, rtMin + 1}; !slices.Equal(left, want) {
		t.Errorf("signals %v are left, want %v", left, want)
	}
	for _, e := range core.Tc.Timers.Posix {
		if left, _ := posixTimes(e); left <= 0 {
			t.Errorf("timer %d does not run", e.GetItId())
		}
	}
	if left, _ := itimerTimes(core.Tc.Timers.Real); left <= 0 {
		t.Error("the interval timer does not run")
	}
}

func pending(t *testing.T, p *ptrace.Process, shared bool) [][128]byte {
	t.Helper()
	list, err := p.Leader().Pending(shared)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func queue(list [][128]byte) *siginfo.SignalQueueEntry {
	q := &siginfo.SignalQueueEntry{}
	for _, info := range list {
		q.Signals = append(q.Signals, &siginfo.SiginfoEntry{Siginfo: info[:]})
	}
	return q
}

// TestObstacles surveys and reads a process with timers that cannot be made
// again.
func TestObstacles(t *testing.T) {
	x := start(t, "odd")
	found, err := Survey([]int{os.Getpid(), x.pid()})
	if err != nil {
		t.Fatal(err)
	}
	// The parent is of the tree here.
	want := []string{"CPU time of the thread that made it", "CPU time of thread", "notifies thread"}
	check := func(text string, want []string) {
		t.Helper()
		for _, part := range want {
			if strings.Count(text, part) != 1 {
				t.Errorf("%q is not there once:\n%s", part, text)
			}
		}
	}
	var text strings.Builder
	for _, o := range found {
		fmt.Fprintln(&text, o)
	}
	check(text.String(), want)
	if len(found) != len(want) {
		t.Errorf("%d obstacles, want %d:\n%s", len(found), len(want), &text)
	}
	x.frozen(t, func(r *remote.Runner, _ *ptrace.Process) error {
		_, err := Read([]Target{{x.pid(), r}}, readInstant(t).of)
		if !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("Read: %v, want %v", err, engine.ErrUnsupported)
		}
		check(fmt.Sprint(err), append(want, "CPU time of process"))
		return nil
	})
	for _, mode := range []string{"wall", "cpu", "threads", "soon"} {
		x := start(t, mode)
		if found, err := Survey([]int{x.pid()}); err != nil || len(found) > 0 {
			t.Errorf("%s: %v, %v; want no obstacle", mode, found, err)
		}
	}
	gone := exec.CommandContext(context.Background(), "true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if found, err := Survey([]int{gone.Process.Pid}); err != nil || len(found) > 0 {
		t.Errorf("a process that is gone: %v, %v", found, err)
	}
}
