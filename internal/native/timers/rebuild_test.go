// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/timens"
)

// testArea is where the stubs of the tests live: nothing else does.
const testArea = 0x10_0000_0000

// freePID finds a process number that nobody has, nor the next one.
func freePID(t testing.TB, from int) int {
	t.Helper()
	for pid := from; pid < from+1000; pid++ {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		_, next := os.Stat(fmt.Sprintf("/proc/%d", pid+1))
		if errors.Is(err, fs.ErrNotExist) && errors.Is(next, fs.ErrNotExist) {
			return pid
		}
	}
	t.Fatal("no free process number")
	return 0
}

// inStub runs f with a stub that has the threads of the process in s, inside the
// namespace of h unless that is nil.
func inStub(t testing.TB, s *criuimg.Set, h *timens.Holder, f func(*remote.Stub) error) {
	t.Helper()
	pid := s.PIDs()[0]
	traced(t, func(tr *ptrace.Tracer) error {
		stub, err := remote.Spawn(tr, int(pid), testArea)
		if err != nil {
			return err
		}
		defer stub.Kill()
		if h != nil {
			if err := stub.Join(h.FD()); err != nil {
				return err
			}
		}
		for _, tid := range s.Process[pid].TIDs(pid)[1:] {
			// A thread's number is free a moment after its process has been reaped.
			for end := time.Now().Add(time.Second); ; {
				_, err := stub.NewThread(int(tid))
				if err == nil {
					break
				}
				if !errors.Is(err, remote.ErrPIDTaken) || time.Now().After(end) {
					return err
				}
			}
		}
		return f(stub)
	})
}

// farAway is how far the clocks of the tests' namespaces are ahead of crtime's.
var farAway = clockstate.Offsets{Monotonic: 86_400_000_000_123, Boottime: 3_600_000_000_456}

// holder makes a time namespace far away from crtime's own.
func holder(t *testing.T) *timens.Holder {
	t.Helper()
	h, err := timens.NewHolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	own, err := timens.OffsetsOf(0)
	if err != nil {
		t.Fatal(err)
	}
	offsets := clockstate.Offsets{Monotonic: own.Monotonic + farAway.Monotonic, Boottime: own.Boottime + farAway.Boottime}
	if err := h.SetOffsets(offsets); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestRoundTrip reads a program's timers, rebuilds them in a stub with the same
// number, and reads them again as of the same instant.
func TestRoundTrip(t *testing.T) {
	for _, mode := range []string{"wall", "cpu", "threads"} {
		for _, namespace := range []bool{false, true} {
			for _, choose := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s namespace=%v choose=%v", mode, namespace, choose), func(t *testing.T) {
					if choose && !canChooseIDs() {
						t.Skip("this kernel hands out the numbers of timers itself: Linux 6.15 is needed")
					}
					var h *timens.Holder
					if namespace {
						h = holder(t)
					}
					roundTrip(t, mode, h, choose)
				})
			}
		}
	}
}

func roundTrip(t *testing.T, mode string, h *timens.Holder, choose bool) {
	x := start(t, mode)
	before, frozen := x.dump(t)
	x.end()
	pid := uint32(x.pid())
	list := saved(before, pid)
	after := newSet(pid)
	inStub(t, before, h, func(stub *remote.Stub) error {
		if err := Check(before); err != nil {
			return err
		}
		if err := create(before, pid, stub, choose); err != nil {
			return err
		}
		due := func(t Timer) int64 { return add(frozen.of(t.Timeline()), int64(t.Left)) }
		plan := Plan{Due: due}
		if h != nil && choose {
			plan.Ahead = &farAway
		}
		if err := plan.Arm(before, pid, stub); err != nil {
			return err
		}
		now, err := readTimers(int(pid))
		if err != nil {
			return err
		}
		checkList(t, now, list)
		// The same process can be dumped again.
		return Collect([]Target{{int(pid), stub.Runner}}, after, frozen.of)
	})
	sameAgain(t, before.Process[pid].Core.Tc.Timers, after.Process[pid].Core.Tc.Timers)
}

// checkList compares what the kernel says of timers, in any order.
func checkList(t *testing.T, got, want []posix) {
	t.Helper()
	byID := map[int32]posix{}
	for _, one := range got {
		byID[one.id] = one
	}
	if len(byID) != len(want) {
		t.Errorf("%d timers, want %d", len(byID), len(want))
	}
	for _, one := range want {
		if byID[one.id] != one {
			t.Errorf("timer %d is %+v, want %+v", one.id, byID[one.id], one)
		}
	}
}

// sameAgain compares what was left as of the same instant, before and after.
func sameAgain(t *testing.T, before, after *timer.TaskTimersEntry) {
	t.Helper()
	byID := map[uint32]*timer.PosixTimerEntry{}
	for _, e := range after.Posix {
		byID[e.GetItId()] = e
	}
	for _, e := range before.Posix {
		left, interval := posixTimes(e)
		again, intervalAgain := posixTimes(byID[e.GetItId()])
		if interval != intervalAgain {
			t.Errorf("timer %d: interval %d became %d", e.GetItId(), interval, intervalAgain)
		}
		if absolute(e) != absolute(byID[e.GetItId()]) {
			t.Errorf("timer %d: absolute %v became %v", e.GetItId(), absolute(e), absolute(byID[e.GetItId()]))
		}
		if (left == 0) != (again == 0) {
			t.Errorf("timer %d: %d left became %d", e.GetItId(), left, again)
		}
		wall, ok := posixTimer(0, e)
		switch {
		case !ok:
			if again > left || again < left-nanosPerSecond {
				t.Errorf("timer %d: %d of CPU time became %d", e.GetItId(), left, again)
			}
		case interval == 1_000_000: // It expires all the time; its phase counts.
			if off := (again - left) % interval; off < 0 || off > int64(late) {
				t.Errorf("timer %d: its phase is off by %d", e.GetItId(), off)
			}
		default:
			checkLater(t, fmt.Sprintf("timer %d", e.GetItId()), again-left, wall.span())
		}
	}
	left, interval := itimerTimes(before.Real)
	again, intervalAgain := itimerTimes(after.Real)
	if interval != intervalAgain {
		t.Errorf("ITIMER_REAL: interval %d became %d", interval, intervalAgain)
	}
	checkLater(t, "ITIMER_REAL", again-left, true)
	checkCPU(t, "ITIMER_VIRTUAL", before.Virt, after.Virt)
	checkCPU(t, "ITIMER_PROF", before.Prof, after.Prof)
}

// checkCPU compares an interval timer on CPU time, of which the process may have
// used some ticks.
func checkCPU(t *testing.T, name string, before, after *timer.ItimerEntry) {
	t.Helper()
	left, interval := itimerTimes(before)
	again, intervalAgain := itimerTimes(after)
	if interval != intervalAgain || (left == 0) != (again == 0) || again > left || again < left-20_000_000 {
		t.Errorf("%s: %d left of CPU time, interval %d, became %d, interval %d", name, left, interval, again, intervalAgain)
	}
}

// checkLater checks that a timer was not made earlier, and later only by what
// reading costs and, if it is armed by spans, arming.
func checkLater(t *testing.T, name string, later int64, span bool) {
	t.Helper()
	limit := int64(late)
	if span {
		limit = int64(20 * time.Millisecond) // A busy machine: the process had to be woken.
	}
	if later < 0 || later > limit {
		t.Errorf("%s: %d ns later", name, later)
	}
	t.Logf("%s: %d ns later, span %v", name, later, span)
}

// TestPastDue has timers that were due 10.4 periods ago in a stub, or some 100 before
// the machine was booted: each fires at once, knows how often it would have fired, and
// keeps its phase.
func TestPastDue(t *testing.T) {
	up, err := now(unix.CLOCK_BOOTTIME)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("since the boot", func(t *testing.T) {
		const ago = 104 * nanosPerSecond / 10
		if up < ago+nanosPerSecond {
			time.Sleep(time.Duration(ago + nanosPerSecond - up))
		}
		checkPastDue(t, ago)
	})
	t.Run("before the boot", func(t *testing.T) {
		checkPastDue(t, (up/nanosPerSecond+100)*nanosPerSecond+4*nanosPerSecond/10)
	})
}

// checkPastDue has timers with a period of a second that were due so long ago, 0.4
// seconds and a whole number.
func checkPastDue(t *testing.T, ago int64) {
	t.Helper()
	const interval = nanosPerSecond
	pid := uint32(freePID(t, 28600))
	s := newSet(pid, pid+1)
	entry := func(id uint32, clock, notify int, signal uint32, thread int32) *timer.PosixTimerEntry {
		e := posix{id: int32(id), clock: clockID(clock), notify: int32(notify), signal: int32(signal), value: uint64(id) << 33, thread: thread}.entry()
		e.Overrun, e.Isec, e.Insec, e.Vsec, e.Vnsec = proto.Uint32(0), proto.Uint64(1), proto.Uint64(0), proto.Uint64(1), proto.Uint64(0)
		return e
	}
	list := []*timer.PosixTimerEntry{
		entry(3, unix.CLOCK_MONOTONIC, notifySignal, 40, 0),
		entry(4, unix.CLOCK_BOOTTIME, notifySignal, 41, 0),
		entry(5, unix.CLOCK_REALTIME, notifySignal, 42, 0),
		entry(6, unix.CLOCK_REALTIME, notifySignal, 43, 0),
		entry(7, unix.CLOCK_REALTIME, notifyNone, 0, 0),
		entry(9, unix.CLOCK_REALTIME, notifyThreadID, 44, int32(pid)),
	}
	setAbsolute(list[3])
	second := &timer.ItimerEntry{Isec: proto.Uint64(1), Iusec: proto.Uint64(0), Vsec: proto.Uint64(0), Vusec: proto.Uint64(7)}
	none := itimerEntry(span{})
	s.Process[pid].Core.Tc.Timers = &timer.TaskTimersEntry{Real: second, Virt: none, Prof: none, Posix: list}
	if err := Check(s); err != nil {
		t.Fatal(err)
	}
	again := newSet(pid)
	var begun instant
	inStub(t, s, holder(t), func(stub *remote.Stub) error {
		if err := Create(s, pid, stub); err != nil {
			return err
		}
		begun = readInstant(t)
		if err := Arm(s, pid, stub, func(t Timer) int64 { return begun.of(t.Timeline()) - ago }); err != nil {
			return err
		}
		for _, e := range list {
			if e.GetItSigevNotify() != notifyNone {
				checkFired(t, stub, posixOf(e), ago/interval)
			}
		}
		info := dequeue(t, stub, unix.SIGALRM)
		if code := int32(binary.LittleEndian.Uint32(info[siginfoCode:])); code != siKernel {
			t.Errorf("SIGALRM has code %d, want %d", code, siKernel)
		}
		return Collect([]Target{{int(pid), stub.Runner}}, again, begun.of)
	})
	// The next is due 0.6 periods after the beginning, or a whole number later on a
	// machine that is slow.
	phase := func(name string, left int64) {
		if off := (left - 6*interval/10) % interval; left <= 0 || off < 0 || off > 20_000_000 {
			t.Errorf("%s: %d ns are left, off by %d", name, left, off)
		}
	}
	timers := again.Process[pid].Core.Tc.Timers
	for _, e := range timers.Posix {
		left, _ := posixTimes(e)
		phase(fmt.Sprintf("timer %d", e.GetItId()), left)
	}
	left, _ := itimerTimes(timers.Real)
	phase("ITIMER_REAL", left)
}

// checkFired takes a timer's signal out of the stub's queue.
func checkFired(t *testing.T, stub *remote.Stub, want posix, overrun int64) {
	t.Helper()
	info := dequeue(t, stub, unix.Signal(want.signal))
	got := posix{
		id: int32(binary.LittleEndian.Uint32(info[siginfoTimer:])), clock: want.clock, notify: want.notify, thread: want.thread,
		signal: int32(binary.LittleEndian.Uint32(info)), value: binary.LittleEndian.Uint64(info[siginfoValue:]),
	}
	if got != want {
		t.Errorf("the signal is that of %+v, want %+v", got, want)
	}
	if code := int32(binary.LittleEndian.Uint32(info[siginfoCode:])); code != siTimer {
		t.Errorf("timer %d: the signal has code %d", want.id, code)
	}
	// One more has passed on a machine that is slow.
	if n := int64(binary.LittleEndian.Uint32(info[siginfoOverrun:])); n != overrun && n != overrun+1 {
		t.Errorf("timer %d: overrun %d, want %d", want.id, n, overrun)
	}
}

// dequeue takes a signal that waits, or that comes as soon as the kernel has handled
// the interrupt of a timer that was due: long before a period has passed.
func dequeue(t *testing.T, stub *remote.Stub, signal unix.Signal) []byte {
	t.Helper()
	var b batch
	set := b.put(binary.LittleEndian.AppendUint64(nil, 1<<(signal-1)))
	limit := b.put(binary.LittleEndian.AppendUint64(make([]byte, 8), 100_000_000))
	info := b.room(siginfoSize)
	b.call(fmt.Sprintf("wait for signal %d", signal), unix.SYS_RT_SIGTIMEDWAIT, set, info, limit, 8)
	if err := b.run(stub); err != nil {
		t.Error(err)
	}
	return b.get(info)
}

// TestWithoutPlan arms without a plan: each timer is due when what was left has
// passed.
func TestWithoutPlan(t *testing.T) {
	x := start(t, "wall")
	before, _ := x.dump(t)
	x.end()
	pid := uint32(x.pid())
	again := newSet(pid)
	inStub(t, before, nil, func(stub *remote.Stub) error {
		if err := Create(before, pid, stub); err != nil {
			return err
		}
		armed := readInstant(t)
		if err := Arm(before, pid, stub, nil); err != nil {
			return err
		}
		return Collect([]Target{{int(pid), stub.Runner}}, again, armed.of)
	})
	for i, e := range before.Process[pid].Core.Tc.Timers.Posix {
		e2 := again.Process[pid].Core.Tc.Timers.Posix[i]
		left, interval := posixTimes(e)
		left2, _ := posixTimes(e2)
		if e.GetItId() != e2.GetItId() {
			t.Fatalf("timer %d became %d", e.GetItId(), e2.GetItId())
		}
		if interval != 1_000_000 && (left2 < left || left2 > left+50_000_000) {
			t.Errorf("timer %d: %d left became %d", e.GetItId(), left, left2)
		}
	}
}

// TestCaughtAtZero rebuilds an interval timer that waits for its signal to be
// taken: it runs again, for a whole period.
func TestCaughtAtZero(t *testing.T) {
	x := start(t, "caught")
	before, _ := x.dump(t)
	x.end()
	pid := uint32(x.pid())
	if left, interval := itimerTimes(before.Process[pid].Core.Tc.Timers.Real); left != 0 || interval != 1000*nanosPerSecond {
		t.Fatalf("%d left, interval %d; want 0 and 1000 s", left, interval)
	}
	again := newSet(pid)
	inStub(t, before, nil, func(stub *remote.Stub) error {
		armed := readInstant(t)
		if err := Arm(before, pid, stub, nil); err != nil {
			return err
		}
		return Collect([]Target{{int(pid), stub.Runner}}, again, armed.of)
	})
	left, interval := itimerTimes(again.Process[pid].Core.Tc.Timers.Real)
	if interval != 1000*nanosPerSecond || left < interval || left > interval+50_000_000 {
		t.Errorf("%d left, interval %d; want 1000 s each", left, interval)
	}
}

// TestNumbers reaches a high number by counting, and notices a process whose
// numbers have been used.
func TestNumbers(t *testing.T) {
	pid := uint32(freePID(t, 29600))
	s := newSet(pid)
	none := itimerEntry(span{})
	all := &timer.TaskTimersEntry{Real: none, Virt: none, Prof: none}
	for _, id := range []int32{20_000, 0, 1, 4096} {
		e := posix{id: id, clock: unix.CLOCK_MONOTONIC, signal: 40, value: 1}.entry()
		e.Overrun, e.Isec, e.Insec, e.Vsec, e.Vnsec = proto.Uint32(0), proto.Uint64(0), proto.Uint64(0), proto.Uint64(0), proto.Uint64(0)
		all.Posix = append(all.Posix, e)
	}
	s.Process[pid].Core.Tc.Timers = all
	for name, choose := range map[string]bool{"chosen": true, "counted": false} {
		t.Run(name, func(t *testing.T) {
			if choose && !canChooseIDs() {
				t.Skip("this kernel lets no process choose the numbers of its timers; Linux 6.15 does (PR_TIMER_CREATE_RESTORE_IDS)")
			}
			inStub(t, s, nil, func(stub *remote.Stub) error { return checkNumbers(t, s, stub, choose) })
		})
	}
}

// checkNumbers makes the timers of TestNumbers.
func checkNumbers(t *testing.T, s *criuimg.Set, stub *remote.Stub, choose bool) error {
	t.Helper()
	pid := s.PIDs()[0]
	if err := create(s, pid, stub, choose); err != nil {
		return err
	}
	now, err := readTimers(int(pid))
	if err != nil {
		return err
	}
	checkList(t, now, saved(s, pid))
	// The next timer has a number that was never used.
	var b batch
	event, id := b.put(posix{notify: notifyNone}.encodeEvent()), b.room(idSize)
	b.call("timer_create", unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, event, id)
	if err := b.run(stub); err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint32(b.get(id)); got != 20_001 {
		t.Errorf("the next timer is %d, want 20001", got)
	}
	err = create(s, pid, stub, false)
	if _, ok := errors.AsType[*NumberError](err); !ok {
		t.Errorf("a second time: %v, want a *NumberError", err)
	}
	return nil
}

// TestUntaken rebuilds timers that had sent a signal which waited at the dump, with
// three periods on it: the periods of the outage are told by the same signal.
func TestUntaken(t *testing.T) {
	const interval, left, outage = nanosPerSecond, 6 * nanosPerSecond / 10, 5 * nanosPerSecond
	const known = 3
	pid := uint32(freePID(t, 28700))
	s := newSet(pid)
	var list []*timer.PosixTimerEntry
	queue := &siginfo.SignalQueueEntry{}
	s.Process[pid].Core.Tc.SignalsS = queue
	for i, clock := range []int{unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME} {
		one := posix{id: int32(i), clock: clockID(clock), signal: int32(40 + i), value: 1}
		e := one.entry()
		e.Overrun, e.Isec, e.Insec, e.Vsec, e.Vnsec = proto.Uint32(0), proto.Uint64(1), proto.Uint64(0), proto.Uint64(0), proto.Uint64(left)
		setStanding(e)
		list = append(list, e)
		queue.Signals = append(queue.Signals, &siginfo.SiginfoEntry{Siginfo: one.encodeSignal(known)})
	}
	others := posix{id: 9, signal: 50}.encodeSignal(0)
	queue.Signals = append(queue.Signals, &siginfo.SiginfoEntry{Siginfo: others})
	none := itimerEntry(span{})
	s.Process[pid].Core.Tc.Timers = &timer.TaskTimersEntry{Real: none, Virt: none, Prof: none, Posix: list}
	inStub(t, s, holder(t), func(stub *remote.Stub) error {
		if err := Create(s, pid, stub); err != nil {
			return err
		}
		begun := readInstant(t)
		due := func(t Timer) int64 { return begun.of(t.Timeline()) - outage + int64(t.Left) }
		if err := Arm(s, pid, stub, due); err != nil {
			return err
		}
		// The last expiry before the dump was 0.4 periods before it.
		for _, e := range list {
			checkFired(t, stub, posixOf(e), known+(outage+interval-left)/interval)
		}
		return nil
	})
	if len(queue.Signals) != 1 || !bytes.Equal(queue.Signals[0].Siginfo, others) {
		t.Errorf("%d signals are left, want that of another timer", len(queue.Signals))
	}
}
