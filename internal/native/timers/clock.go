// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clockID is a clock as the kernel numbers it: one of the fixed ones, or, if
// negative, the CPU clock of a process or thread. The bits of the latter are
// those of the kernel's posix-timers_types.h: the complement of the process's
// or thread's number (0: its own), whether it is a thread, and what is counted.
type clockID int32

const (
	ownProcess clockID = ^0<<3 | cpuSched             // What CLOCK_PROCESS_CPUTIME_ID becomes.
	ownThread  clockID = ^0<<3 | cpuSched | cpuThread // What CLOCK_THREAD_CPUTIME_ID becomes.

	cpuSched   = 2 // All CPU time, to the nanosecond.
	cpuCounter = 3 // The bits that say what is counted.
	cpuNothing = 3 // No CPU clock, but that of an open device, which has no timers.
	cpuThread  = 4
	cpuBits    = 3
)

// canonical is the number under which the kernel keeps the clock.
func (c clockID) canonical() clockID {
	switch c {
	case unix.CLOCK_PROCESS_CPUTIME_ID:
		return ownProcess
	case unix.CLOCK_THREAD_CPUTIME_ID:
		return ownThread
	default:
		return c
	}
}

// cpu reports whether the clock counts CPU time, and whose: of the thread or
// process with the number owner, 0 for the one that made the timer.
func (c clockID) cpu() (owner int32, thread, ok bool) {
	c = c.canonical()
	if c >= 0 || c&cpuCounter == cpuNothing {
		return 0, false, false
	}
	return int32(^(c >> cpuBits)), c&cpuThread != 0, true
}

// wall reports whether the clock goes on by itself and has timers.
func (c clockID) wall() bool {
	switch c {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME,
		unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM, unix.CLOCK_TAI:
		return true
	default:
		return false
	}
}

// alarm reports whether the clock's timers wake the machine.
func (c clockID) alarm() bool {
	return c == unix.CLOCK_REALTIME_ALARM || c == unix.CLOCK_BOOTTIME_ALARM
}

// String names the clock for messages.
func (c clockID) String() string {
	if c.wall() {
		return [...]string{
			unix.CLOCK_REALTIME:       "CLOCK_REALTIME",
			unix.CLOCK_MONOTONIC:      "CLOCK_MONOTONIC",
			unix.CLOCK_BOOTTIME:       "CLOCK_BOOTTIME",
			unix.CLOCK_REALTIME_ALARM: "CLOCK_REALTIME_ALARM",
			unix.CLOCK_BOOTTIME_ALARM: "CLOCK_BOOTTIME_ALARM",
			unix.CLOCK_TAI:            "CLOCK_TAI",
		}[c]
	}
	owner, thread, ok := c.cpu()
	switch {
	case !ok:
		return fmt.Sprintf("clock %d", int32(c))
	case owner == 0 && thread:
		return "CLOCK_THREAD_CPUTIME_ID"
	case owner == 0:
		return "CLOCK_PROCESS_CPUTIME_ID"
	case thread:
		return fmt.Sprintf("the CPU clock of thread %d", owner)
	default:
		return fmt.Sprintf("the CPU clock of process %d", owner)
	}
}

// now reads one of crtime's own clocks, in nanoseconds.
func now(clock int32) (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read %s: %w", clockID(clock), err)
	}
	return t.Nano(), nil
}
