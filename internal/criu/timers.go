// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	criucore "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	images "github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image/view"
)

// CRIU arms each timer with what the images say was left of it. It adds the seconds of
// the present to that of a timerfd that was set to a point in time, and leaves out the
// nanoseconds; it knows nothing of an outage that a clock counts; and it arms timerfds
// before the tree is complete, so that they run while that is held at the gate. So the
// restore view has timers which come out right: see timerfd and posix below.

// treeClocks are what the clocks of a tree read, by their numbers: at the freeze, when
// the clocks were fixed, and when the tree is to be released. TAI goes with REALTIME.
type treeClocks struct{ frozen, fixed, released map[int32]clockstate.Nanos }

// newTreeClocks works them out for a tree in one time namespace. later is how long
// after the freeze the timers were read that the images speak of.
func newTreeClocks(s *clockstate.State, plan *clockstate.Plan, later clockstate.Nanos) (*treeClocks, error) {
	root, err := s.Root()
	if err != nil {
		return nil, err
	}
	planned, err := plan.Namespace(root.Namespace)
	if err != nil {
		return nil, err
	}
	clocks := func(r clockstate.Readings, o clockstate.Offsets, realtime clockstate.Nanos) map[int32]clockstate.Nanos {
		return map[int32]clockstate.Nanos{
			unix.CLOCK_MONOTONIC: r.Monotonic + o.Monotonic, unix.CLOCK_BOOTTIME: r.Boottime + o.Boottime, unix.CLOCK_REALTIME: realtime,
		}
	}
	realtime, _ := plan.FrozenWall()
	t := &treeClocks{
		frozen:   clocks(root.Readings, clockstate.Offsets{}, realtime),
		fixed:    clocks(plan.Dest.Readings, planned.Offsets, plan.Dest.Realtime),
		released: clocks(plan.Resume, planned.Offsets, plan.ResumeRealtime),
	}
	for id := range t.frozen {
		t.frozen[id] += later
	}
	return t, nil
}

// left is what is left of a timer when the tree is released.
func (t *treeClocks) left(clock int32, atFreeze clockstate.Nanos) clockstate.Nanos {
	return atFreeze - (t.released[clock] - t.frozen[clock])
}

const second = clockstate.Nanos(1_000_000_000)

// timelineOf is the clock on which a timer of some clock runs, and whether there is one.
// A span on REALTIME is counted by MONOTONIC.
func timelineOf(clock int32, absolute bool) (int32, bool) {
	switch clock {
	case unix.CLOCK_MONOTONIC:
		return unix.CLOCK_MONOTONIC, true
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return unix.CLOCK_BOOTTIME, true
	case unix.CLOCK_REALTIME, unix.CLOCK_TAI, unix.CLOCK_REALTIME_ALARM:
		if absolute || clock != unix.CLOCK_REALTIME {
			return unix.CLOCK_REALTIME, true
		}
		return unix.CLOCK_MONOTONIC, true
	default:
		return 0, false // CPU time.
	}
}

// timerfd changes the entry of a timer so that CRIU arms it right.
//
// Where the clock is in one and the same second from the fixing of the clocks to the
// release, the timer becomes one that is set to a point in time, from which the seconds
// that CRIU will add have been taken: it is exact. Otherwise, and where a clock that is
// set must not move the timer, it is set to a span that is too long by what the restore
// is expected to take: it is late rather than early.
//
// respan says that a timer which was set to a span has become one that is not.
func (t *treeClocks) timerfd(e *timerfd.TimerfdEntry) (respan bool) {
	absolute := e.GetSettimeFlags()&unix.TFD_TIMER_ABSTIME != 0
	timeline, ok := timelineOf(int32(e.GetClockid()), absolute)
	left, interval := nanos(e.GetVsec(), e.GetVnsec()), nanos(e.GetIsec(), e.GetInsec())
	if left == 0 && interval > 0 && e.GetTicks() > 0 {
		left = interval // It has expired, and nobody has looked: the kernel shows it as at rest.
	}
	if !ok || left == 0 {
		return false
	}
	due := t.frozen[timeline] + left
	begun := floorSecond(t.fixed[timeline])
	movable := int32(e.GetClockid()) == unix.CLOCK_REALTIME && !absolute
	if !movable && floorSecond(t.released[timeline]) == begun {
		e.SettimeFlags = proto.Uint32(e.GetSettimeFlags() | unix.TFD_TIMER_ABSTIME)
		at := due - begun
		// In the past it has a negative number of seconds, and still its nanoseconds.
		e.Vsec, e.Vnsec = proto.Uint64(uint64(floorSecond(at)/second)), proto.Uint64(uint64(at-floorSecond(at)))
		return !absolute
	}
	left, missed := inPhase(t.left(timeline, left), interval)
	left += t.released[timeline] - t.fixed[timeline]
	e.SettimeFlags = proto.Uint32(e.GetSettimeFlags() &^ unix.TFD_TIMER_ABSTIME)
	e.Ticks = proto.Uint64(e.GetTicks() + missed)
	e.Vsec, e.Vnsec = split(left)
	return false
}

// posix changes the entry of a POSIX timer. CRIU arms it when the tree is released,
// with a span. Whether one on REALTIME was set to a point in time CRIU's images do not
// say: it counts as set to a span.
func (t *treeClocks) posix(e *timer.PosixTimerEntry) {
	timeline, ok := timelineOf(int32(e.GetClockId()), false)
	left, interval := nanos(e.GetVsec(), e.GetVnsec()), nanos(e.GetIsec(), e.GetInsec())
	if !ok || left == 0 {
		return
	}
	left, _ = inPhase(t.left(timeline, left), interval)
	e.Vsec, e.Vnsec = split(left)
}

// itimer changes the entry of ITIMER_REAL.
func (t *treeClocks) itimer(e *timer.ItimerEntry) {
	const micro = 1000
	left := nanos(e.GetVsec(), e.GetVusec()*micro)
	if left == 0 {
		return
	}
	left, _ = inPhase(t.left(unix.CLOCK_MONOTONIC, left), nanos(e.GetIsec(), e.GetIusec()*micro))
	left += micro - 1 // Rounded up.
	e.Vsec, e.Vusec = proto.Uint64(uint64(left/second)), proto.Uint64(uint64(left%second/micro))
}

// inPhase is left, if that is positive. A timer that is overdue fires at once or, with a
// period, at the next of its own times, and has missed some.
func inPhase(left, interval clockstate.Nanos) (next clockstate.Nanos, missed uint64) {
	switch {
	case left > 0:
		return left, 0
	case interval <= 0:
		return 1, 0
	}
	return interval - -left%interval, 1 + uint64(-left/interval)
}

// nanos is a time of an entry; at the end of what can be counted if it is beyond.
func nanos(sec, nsec uint64) clockstate.Nanos {
	const most = clockstate.Nanos(1<<62) / second
	return clockstate.Nanos(min(sec, uint64(most)))*second + clockstate.Nanos(nsec%uint64(second))
}

func split(n clockstate.Nanos) (sec, nsec *uint64) {
	return proto.Uint64(uint64(n / second)), proto.Uint64(uint64(n % second))
}

// floorSecond is the last whole second, also before 0.
func floorSecond(n clockstate.Nanos) clockstate.Nanos { return n - (n%second+second)%second }

// timed is what setTimers has found.
type timed struct {
	// asleep says how many threads were asleep in which system calls, and will be told
	// EINTR: CRIU does not let them sleep on.
	asleep map[string]int
	// respan are the files of timers that have to be set to a span again.
	respan map[uint32]bool
}

// setTimers puts the images whose timers have to be others into the view.
func setTimers(v *view.View, dir string, s *clockstate.State, plan *clockstate.Plan) (*timed, error) {
	found := &timed{asleep: map[string]int{}, respan: map[uint32]bool{}}
	later, err := measuredLater(dir, s)
	if err != nil {
		return nil, err
	}
	t, err := newTreeClocks(s, plan, later)
	if err != nil {
		return nil, err
	}
	err = rewrite(v, dir, "files.img", func(data []byte) (proto.Message, error) {
		e := &fdinfo.FileEntry{}
		if err := proto.Unmarshal(data, e); err != nil || e.GetTfd() == nil {
			return nil, err
		}
		if t.timerfd(e.Tfd) {
			found.respan[e.GetId()] = true
		}
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	cores, err := filepath.Glob(filepath.Join(dir, "core-*.img"))
	if err != nil {
		return nil, err
	}
	for _, path := range cores {
		err := rewrite(v, dir, filepath.Base(path), func(data []byte) (proto.Message, error) {
			e := &criucore.CoreEntry{}
			if err := proto.Unmarshal(data, e); err != nil {
				return nil, err
			}
			if call := endsWithEINTR(e); call != "" {
				found.asleep[call]++
			}
			if e.GetTc().GetTimers() == nil {
				return nil, nil
			}
			t.itimer(e.Tc.Timers.GetReal())
			for _, one := range e.Tc.Timers.GetPosix() {
				t.posix(one)
			}
			return e, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// endsWithEINTR names the sleep that a thread was in when it was stopped, if its
// registers say that it ends with EINTR.
func endsWithEINTR(e *criucore.CoreEntry) string {
	regs := e.GetThreadInfo().GetGpregs()
	if int64(regs.GetAx()) != -int64(unix.EINTR) {
		return ""
	}
	return sleepingCalls()[int64(regs.GetOrigAx())]
}

// measuredLater is how long after the freeze the timers of the images were read, if they
// are CRIU's.
func measuredLater(dir string, s *clockstate.State) (clockstate.Nanos, error) {
	if !strings.HasPrefix(s.Engine, Name) {
		return 0, nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "timens-*.img"))
	if err != nil || len(names) != 1 {
		return 0, err
	}
	e := &images.TimensEntry{}
	if _, err := view.ReadEntry(names[0], e); err != nil {
		return 0, err
	}
	return s.MeasuredLater(nanos(e.GetMonotonic().GetTvSec(), e.GetMonotonic().GetTvNsec())), nil
}

// rewrite replaces an image of the view if change returns something for any of its
// messages.
func rewrite(v *view.View, dir, name string, change func([]byte) (proto.Message, error)) error {
	const word, head = 4, 8
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if len(data) < head {
		return fmt.Errorf("%s: %w", name, view.ErrEntry)
	}
	out, changed := slices.Clone(data[:head]), false
	for rest := data[head:]; len(rest) > 0; {
		if len(rest) < word || uint64(len(rest)-word) < uint64(binary.LittleEndian.Uint32(rest)) {
			return fmt.Errorf("%s: it ends in the middle", name)
		}
		size := word + int(binary.LittleEndian.Uint32(rest))
		message, err := change(rest[word:size])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if message == nil {
			out = append(out, rest[:size]...)
		} else {
			encoded, err := proto.Marshal(message)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			out, changed = append(binary.LittleEndian.AppendUint32(out, uint32(len(encoded))), encoded...), true
		}
		rest = rest[size:]
	}
	if !changed {
		return nil
	}
	return v.Replace(name, out)
}
