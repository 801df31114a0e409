// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of one pause: a thread on another processor stops within
// microseconds, and one that takes longer should not be watched by a whole
// processor.
const (
	shortPause = 20 * time.Microsecond
	longPause  = time.Millisecond
)

// mostYields is how often a pause is nothing but a chance for others to run. A
// sleep lasts at least the timer slack, 50 microseconds, which is longer than
// what most threads need to stop.
const mostYields = 16

// pause is a wait between two looks at the same thing. Each is longer than the
// one before, up to longPause.
type pause struct {
	yields int
	next   time.Duration
}

func newPause() *pause { return &pause{next: shortPause} }

// wait blocks the thread. It is a system call rather than time.Sleep, which has
// a goroutine on a locked thread wait for the scheduler as well.
func (p *pause) wait() {
	if p.yields < mostYields {
		p.yields++
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		return
	}
	ts := unix.NsecToTimespec(p.next.Nanoseconds())
	// An interruption by a signal only makes it shorter.
	_ = unix.Nanosleep(&ts, nil)
	p.next = min(2*p.next, longPause)
}

// reset makes the next pause short again: something has moved.
func (p *pause) reset() { p.yields, p.next = 0, shortPause }

// long reports whether nothing has moved for a while.
func (p *pause) long() bool { return p.next == longPause }
