// SPDX-License-Identifier: Apache-2.0

// Package timers saves and rebuilds interval timers, setitimer(2), and POSIX
// timers, timer_create(2). Timers with a descriptor are in package files.
//
// # Time
//
// Everything is counted from instants, not from spans. At the dump each timer
// is read together with the clock it runs on, by system calls that stand beside
// each other in one batch, which gives the point in time at which it is due;
// what the images say was left is counted from the instant of the freeze. At the
// restore the caller says when each timer is due (Due), as its clock reads in
// crtime itself; where the kernel takes a point in time the timer is set to that
// point, in the clock of the process's own time namespace, so that nothing is
// lost between planning and arming. Where the kernel takes spans alone (interval
// timers, relative timers on REALTIME) the span is computed just before the call.
// No timer is due earlier than it was, though timers go on while their processes
// stand still: see LookAtSignals.
//
// Timers on CPU clocks count the time that a process has used. It stands still
// while the process does; no instant matters to them, and what was left is left.
//
// # The images
//
// CRIU keeps both kinds in TaskCoreEntry.Timers. Its messages do not say whether
// a timer on REALTIME was set to a point in time or to a span, which decides
// whether setting the clock moves it. A dump finds out where it can and says so
// in a field of crtime's own, which CRIU skips: see fieldAbsolute.
//
// # What is lost
//
// A timer that counts the CPU time of the thread that made it, in a process with
// several threads, is refused: the kernel does not say which thread that is.
// Whether a timer on REALTIME that notifies nobody, or whose signal waits, was
// set to a point in time cannot be found out. An interval timer whose signal waits
// does not show its phase, and begins a whole period.
// timer_getoverrun gives 0 after a restore until the next signal, since nothing
// sets that number. A signal that is pending at the dump knows of the periods that had
// gone by before only if the caller does, see Waiting; of a timer on an alarm clock
// nobody does.
package timers
