// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"math"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// goodTimers are timers that can be made anywhere.
func goodTimers() *timer.TaskTimersEntry {
	e := posix{id: 5, clock: unix.CLOCK_MONOTONIC, signal: 40, value: 1}.entry()
	e.Overrun, e.Isec, e.Insec, e.Vsec, e.Vnsec = proto.Uint32(0), proto.Uint64(1), proto.Uint64(0), proto.Uint64(1), proto.Uint64(0)
	return &timer.TaskTimersEntry{
		Real: itimerEntry(span{1, 2}), Virt: itimerEntry(span{}), Prof: itimerEntry(span{5, 0}),
		Posix: []*timer.PosixTimerEntry{e},
	}
}

func TestCheck(t *testing.T) {
	none := proto.Uint64(0)
	for _, one := range []struct {
		name   string
		change func(all *timer.TaskTimersEntry, e *timer.PosixTimerEntry)
		want   error // nil: all is well.
	}{
		{"good", func(*timer.TaskTimersEntry, *timer.PosixTimerEntry) {}, nil},
		{"the kernel's largest time", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.Isec, e.Insec = proto.Uint64(maxSeconds), proto.Uint64(maxNanos)
		}, nil},
		{"a signal number that nobody uses", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ItSigevNotify, e.SiSigno = proto.Uint32(notifyNone), proto.Uint32(math.MaxUint32)
		}, nil},
		{"its own process's clock", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ClockId = clockOf(^4711<<3 | cpuSched)
		}, nil},
		{"the clock of its second thread", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ClockId = clockOf(^4712<<3 | cpuSched | cpuThread)
		}, nil},
		{"a thread that is there", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ItSigevNotify, e.NotifyThreadId = proto.Uint32(notifyThreadID), proto.Int32(4712)
		}, nil},

		{"no interval timer", func(all *timer.TaskTimersEntry, _ *timer.PosixTimerEntry) { all.Virt = nil }, criuimg.ErrDamaged},
		{"a second of microseconds", func(all *timer.TaskTimersEntry, _ *timer.PosixTimerEntry) {
			all.Real.Vusec = proto.Uint64(microsPerSecond)
		}, criuimg.ErrDamaged},
		{"a negative time", func(all *timer.TaskTimersEntry, _ *timer.PosixTimerEntry) {
			all.Prof.Isec = proto.Uint64(math.MaxUint64)
		}, criuimg.ErrDamaged},
		{"a second of nanoseconds", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.Vnsec = proto.Uint64(nanosPerSecond) }, criuimg.ErrDamaged},
		{"one nanosecond too many", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.Vsec, e.Vnsec = proto.Uint64(maxSeconds), proto.Uint64(maxNanos+1)
		}, criuimg.ErrDamaged},
		{"signal 0", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.SiSigno = proto.Uint32(0) }, criuimg.ErrDamaged},
		{"signal 65", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.SiSigno = proto.Uint32(65) }, criuimg.ErrDamaged},
		{"a negative number", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.ItId = proto.Uint32(1 << 31) }, criuimg.ErrDamaged},
		{"a negative overrun", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.Overrun = proto.Uint32(1 << 31) }, criuimg.ErrDamaged},
		{"a number twice", func(all *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			all.Posix = append(all.Posix, proto.CloneOf(e))
		}, criuimg.ErrDamaged},
		{"absurdly many", func(all *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			for range maxTimers {
				all.Posix = append(all.Posix, e)
			}
		}, criuimg.ErrDamaged},

		{"an unknown way to notify", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.ItSigevNotify = proto.Uint32(6) }, criuimg.ErrUnsupported},
		{"a thread that is not there", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ItSigevNotify, e.NotifyThreadId = proto.Uint32(notifyThreadID), proto.Int32(4713)
		}, criuimg.ErrUnsupported},
		{"an unknown clock", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.ClockId = proto.Uint32(99) }, criuimg.ErrUnsupported},
		{"a device's clock", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.ClockId = clockOf(^7<<3 | cpuNothing) }, criuimg.ErrUnsupported},
		{"the clock of one of two threads", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) { e.ClockId = clockOf(ownThread) }, criuimg.ErrUnsupported},
		{"another process's clock", func(_ *timer.TaskTimersEntry, e *timer.PosixTimerEntry) {
			e.ClockId = clockOf(^4713<<3 | cpuSched)
		}, criuimg.ErrUnsupported},
	} {
		t.Run(one.name, func(t *testing.T) {
			all := goodTimers()
			all.Virt.Isec = none
			one.change(all, all.Posix[0])
			s := newSet(4711, 4712)
			s.Process[4711].Core.Tc.Timers = all
			err := Check(s)
			if !errors.Is(err, one.want) {
				t.Errorf("Check = %v, want %v", err, one.want)
			}
			var file *criuimg.Error
			if one.want != nil && (!errors.As(err, &file) || file.File != "core-4711.img") {
				t.Errorf("Check = %v, which does not name the file", err)
			}
		})
	}
	s := newSet(4711)
	if err := Check(s); !errors.Is(err, criuimg.ErrUnsupported) {
		t.Errorf("Check without timers = %v, want %v", err, criuimg.ErrUnsupported)
	}
	s.Process[4711].Core.Tc.TaskState = proto.Uint32(criuimg.TaskDead)
	if err := Check(s); err != nil {
		t.Errorf("Check of a zombie = %v", err)
	}
}

func clockOf(c clockID) *uint32 { return proto.Uint32(uint32(c)) }

// TestCheckClocks has the kernel judge: a clock that has no timers here is
// refused before anything is made.
func TestCheckClocks(t *testing.T) {
	for _, clock := range []clockID{
		unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM,
	} {
		s := newSet(4711)
		all := goodTimers()
		all.Posix[0].ClockId = clockOf(clock)
		s.Process[4711].Core.Tc.Timers = all
		want := tryClock(clock)
		if err := Check(s); !errors.Is(err, want) || want != nil && !errors.Is(err, criuimg.ErrUnsupported) {
			t.Errorf("%s: Check = %v, and the kernel says %v", clock, err, want)
		}
	}
	if err := tryClock(unix.CLOCK_MONOTONIC); err != nil {
		t.Errorf("a timer on CLOCK_MONOTONIC: %v", err)
	}
}

func TestCheckNumberOutOfReach(t *testing.T) {
	s := newSet(4711)
	all := goodTimers()
	all.Posix[0].ItId = proto.Uint32(maxCounted)
	s.Process[4711].Core.Tc.Timers = all
	c := checker{set: s, clocks: map[clockID]error{}}
	if err := c.process(4711, s.Process[4711]); !errors.Is(err, criuimg.ErrUnsupported) || !errors.Is(err, errNumber) {
		t.Errorf("a number that must be counted to: %v", err)
	}
	all.Posix[0].ItId = proto.Uint32(maxCounted - 1)
	if err := c.process(4711, s.Process[4711]); err != nil {
		t.Error(err)
	}
	c.chooseIDs = true
	all.Posix[0].ItId = proto.Uint32(maxInt)
	if err := c.process(4711, s.Process[4711]); err != nil {
		t.Error(err)
	}
}

// TestAbsoluteSurvives writes and reads the field of our own.
func TestAbsoluteSurvives(t *testing.T) {
	e := goodTimers().Posix[0]
	if absolute(e) {
		t.Error("absolute from the beginning")
	}
	setAbsolute(e)
	data, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again timer.PosixTimerEntry
	if err := proto.Unmarshal(data, &again); err != nil || !absolute(&again) {
		t.Errorf("absolute did not survive: %v", err)
	}
	// The day go-criu knows the field, it is no longer among the unknown ones.
	if e.ProtoReflect().Descriptor().Fields().ByNumber(fieldAbsolute) != nil {
		t.Error("the number of the field is taken")
	}
}

// FuzzCheck has Check judge any message: what it accepts has times and numbers
// with which the rest of the package can work.
func FuzzCheck(f *testing.F) {
	all := goodTimers()
	setAbsolute(all.Posix[0])
	for _, change := range []func(){
		func() {},
		func() { all.Posix[0].ClockId = clockOf(unix.CLOCK_REALTIME) },
		func() { all.Posix[0].Vsec = proto.Uint64(math.MaxUint64) },
		func() { all.Real.Vusec = proto.Uint64(microsPerSecond) },
	} {
		change()
		data, err := proto.Marshal(all)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var all timer.TaskTimersEntry
		if proto.Unmarshal(data, &all) != nil {
			return
		}
		s := newSet(4711)
		s.Process[4711].Core.Tc.Timers = &all
		if err := Check(s); err != nil {
			if !errors.Is(err, criuimg.ErrDamaged) && !errors.Is(err, criuimg.ErrUnsupported) {
				t.Errorf("%v is neither damage nor unsupported", err)
			}
			return
		}
		for _, e := range all.Posix {
			left, interval := posixTimes(e)
			if left < 0 || interval < 0 || left == 0 && interval != 0 || int32(e.GetItId()) < 0 {
				t.Errorf("accepted: %v", e)
			}
			if timer, ok := posixTimer(4711, e); ok && timer.Left <= 0 {
				t.Errorf("accepted: %+v", timer)
			}
			if posixOf(e).entry().GetItId() != e.GetItId() {
				t.Errorf("%v does not survive", e)
			}
		}
		for _, e := range []*timer.ItimerEntry{all.Real, all.Virt, all.Prof} {
			if left, interval := itimerTimes(e); left < 0 || interval < 0 {
				t.Errorf("accepted: %v", e)
			}
		}
	})
}
