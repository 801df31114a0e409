// SPDX-License-Identifier: Apache-2.0

// Package urgent runs the few moments at which crtime must not wait for a
// processor: seeing that a tree has stopped, and releasing one on time. Under
// load an ordinary thread waits milliseconds for its turn, and every one of them
// is a forward jump of the program's clock.
//
// The thread is put into the real-time class SCHED_FIFO at its lowest priority,
// so that it runs before every ordinary thread and after everything else that is
// real-time. What runs there must sleep most of the time: it would take a
// processor from the engine otherwise. Without CAP_SYS_NICE it runs as any other
// thread does.
package urgent

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// schedFIFO is SCHED_FIFO of the kernel's include/uapi/linux/sched.h.
const schedFIFO = 1

// resetOnFork is SCHED_FLAG_RESET_ON_FORK: what such a thread starts, if
// anything, is ordinary again.
const resetOnFork = 1

// Do calls f on a thread of its own in the real-time class, and returns when f
// has. The thread ends with it, so that no other goroutine inherits the class. If
// the caller is in the class already, because of On, f is called where it is.
func Do(f func()) {
	// Only threads that a goroutine is locked to are ever in the class.
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == schedFIFO {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: a goroutine that ends locked takes its thread along.
		runtime.LockOSThread()
		// Not being allowed to is no reason to fail.
		_ = unix.SchedSetAttr(0, fifo(), 0)
		f()
	}()
	<-done
}

// On calls f with the calling thread in the real-time class, and puts it back into
// its own class. The goroutine must be locked to the thread. It is for work that
// only this thread can do, such as a tracer's.
func On(f func()) {
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil && before.Policy != schedFIFO && unix.SchedSetAttr(0, fifo(), 0) == nil {
		// Going back needs no right that going there did not need.
		defer func() { _ = unix.SchedSetAttr(0, before, 0) }()
	}
	f()
}

// fifo is the lowest real-time priority.
func fifo() *unix.SchedAttr {
	return &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedFIFO, Priority: 1, Flags: resetOnFork}
}

// Sleep sleeps in the kernel for d, or less if a signal ends it. Unlike
// time.Sleep it stays on the thread, whose class then wakes it on time.
func Sleep(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	// It can only fail by ending early.
	_ = unix.Nanosleep(&ts, nil)
}
