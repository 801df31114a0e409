// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrUnavailable says that the kernel cannot be asked: crtime may not load the
// program, or the kernel has no type information of itself.
var ErrUnavailable = errors.New("the kernel cannot be asked about sleeping threads and timers")

// Reader asks the kernel. It is not safe for concurrent use.
type Reader struct {
	objects struct {
		Tell   *ebpf.Program `ebpf:"tell"`
		Wanted *ebpf.Map     `ebpf:"wanted"`
	}
	link *link.Iter
	tick int64
}

// Open loads the program, with room for asking about so many processes at a time and as
// many again that may have come by then. That takes some ten milliseconds, what Read does
// less than one. The error is ErrUnavailable.
func Open(processes int) (*Reader, error) {
	r := &Reader{}
	if err := r.open(2 * processes); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), r.Close())
	}
	return r, nil
}

func (r *Reader) open(room int) (err error) {
	if r.tick, err = tick(); err != nil {
		return err
	}
	if err := load(&r.objects, room); err != nil {
		return err
	}
	r.link, err = link.AttachIter(link.IterOptions{Program: r.objects.Tell})
	return err
}

// load loads the programs and maps that objects has fields for. Memory for what the maps
// can hold at most is taken at once.
func load(objects any, room int) error {
	spec, err := loadBpf()
	if err != nil {
		return err
	}
	for _, name := range []string{bpfMapWanted, bpfMapTimers} {
		spec.Maps[name].MaxEntries = uint32(min(max(room, 64), 1<<22)) // There are no more processes.
	}
	err = spec.LoadAndAssign(objects, nil)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("a BPF program needs root (CAP_BPF and CAP_PERFMON): %w", unix.EPERM)
	}
	return err
}

// tick is the length of the kernel's tick in nanoseconds.
func tick() (int64, error) {
	var length unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &length); err != nil {
		return 0, fmt.Errorf("length of the tick: %w", err)
	}
	return length.Nano(), nil
}

// Close gives up the program.
func (r *Reader) Close() error {
	var errs []error
	if r.link != nil {
		errs = append(errs, r.link.Close())
	}
	if r.objects.Tell != nil {
		errs = append(errs, r.objects.Tell.Close(), r.objects.Wanted.Close())
	}
	return errors.Join(errs...)
}

// Deadline is a moment on one of the host's clocks, whatever time namespace the
// thread or crtime is in.
type Deadline struct {
	Clock int32 // CLOCK_*.
	At    int64 // In nanoseconds.
	// Fuzz is how much earlier or later it can be, in nanoseconds. Timers that count
	// ticks are not more exact than a tick.
	Fuzz int64
}

// Known reports whether there is a deadline.
func (d Deadline) Known() bool { return d.At != 0 }

// Thread is what the kernel knows of a thread's wait.
type Thread struct {
	// Switches counts how often the thread gave up its processor by itself. If it grew
	// by no more than one between two looks, in the second of which the thread is
	// stopped for the first time, it has slept from the first until it was stopped.
	Switches uint64
	// Timer wakes the thread if nothing else does; unknown in one that does not sleep,
	// or has no time limit.
	Timer Deadline
	// Sleep, Poll and Futex are when an interrupted nanosleep (or clock_nanosleep
	// that is relative), poll, or relative futex wait is to end. Only that of the call
	// in which the thread was stopped means anything. Sleep has the thread's timer
	// slack in it (prctl(2), PR_SET_TIMERSLACK), which is 50 us unless it was set.
	Sleep, Poll, Futex Deadline
	// Remainder is where an interrupted nanosleep writes what is left if a handler
	// ends it; 0: nowhere.
	Remainder uint64
	// Restarts is which kind of call the kernel would go on with in a thread that a stop
	// has interrupted in one.
	Restarts Kind
}

// Read looks at all threads of processes, by thread number. Threads that begin or end
// meanwhile may be left out.
func (r *Reader) Read(pids []int) (map[int]Thread, error) {
	threads := make(map[int]Thread)
	err := ask(r.link, r.objects.Wanted, pids, func(text io.Reader) error {
		var w wait
		if err := binary.Read(text, binary.NativeEndian, &w); err != nil {
			return err
		}
		threads[int(w.TID)] = w.thread(r.tick)
		return nil
	})
	return threads, err
}

// wait is struct wait of bpf/waits.c.
type wait struct {
	TID, PID int32
	Switches uint64

	Timer uint32
	Clock int32
	At    uint64
	Ticks uint64
	Now   uint64

	Remainder              uint64
	Nanosleep, Poll, Futex uint64
	NanosleepClock         int32
	PollLimited            uint32
	Restart                [32]byte
}

// The kinds of timers: enum timer of bpf/waits.c.
const (
	precise = 1
	coarse  = 2
)

// thread gives what was read its meaning. tick is the length of the kernel's.
func (w *wait) thread(tick int64) Thread {
	t := Thread{
		Switches: w.Switches, Remainder: w.Remainder, Restarts: kindOf(unix.ByteSliceToString(w.Restart[:])),
		Sleep: Deadline{Clock: w.NanosleepClock, At: int64(w.Nanosleep)},
		Futex: Deadline{Clock: unix.CLOCK_MONOTONIC, At: int64(w.Futex)},
	}
	if w.PollLimited != 0 {
		t.Poll = Deadline{Clock: unix.CLOCK_MONOTONIC, At: int64(w.Poll)}
	}
	switch w.Timer {
	case precise:
		t.Timer = Deadline{Clock: w.Clock, At: int64(w.At)}
	case coarse:
		// Both counts may have gone around: their difference holds.
		t.Timer = Deadline{Clock: unix.CLOCK_MONOTONIC, At: int64(w.Now) + int64(w.At-w.Ticks)*tick, Fuzz: tick}
	}
	return t
}
