// SPDX-License-Identifier: Apache-2.0

// Package tasks saves and rebuilds what processes and threads are apart from
// their memory, files and timers: registers, signals, credentials, limits,
// scheduling, names, and how they are related.
//
// # Dump
//
// Collect fills the core images, the process tree and the kernel object ids of
// a criuimg.Set. What /proc or a system call from outside can tell is asked
// there; for the rest each process makes one batch of calls, and each further
// thread a short one. Survey looks at /proc alone and lists what the images
// cannot describe.
//
// # Restore
//
// Births plans, without touching anything, in which order processes are made so
// that parents, sessions and process groups come out as they were; Do carries out
// every step of it but the forks. When all are born and have their memory and
// files: Prepare for each process. After its single thread has joined the time
// namespace and the others have been made, Thread for each of them, Queue for the
// pending signals, and Credentials for each last, because after it the process may
// have lost the right to do anything else. State is what a thread runs on with. A
// process that was stopped by a signal gets the one that Stopped names.
//
// What a process is to have and what crtime may give it is compared by Check,
// before anything is made: higher hard limits and capabilities than crtime's own
// are errors then.
//
// # Format
//
// The messages are those of CRIU 4.2. A few fields are newer than go-criu's
// types; they are kept as unknown fields (extension.go), as is what CRIU has no
// place for: CPU affinity, timer slack, I/O priority and what else a thread has asked
// of the scheduler, memory policy, the marks of prctl and arch_prctl (marks.go), which
// memory a core dump holds, who shares a session keyring, and the system call that a
// thread slept in. CRIU ignores those.
//
// # What is not saved
//
// Survey and Collect refuse what they can see: filters of system calls, shadow
// stacks, tagged addresses, 32-bit programs, foreign security profiles, deadline
// scheduling, core scheduling groups, keys of a thread or process, local descriptor
// tables, and System V semaphores that an end may adjust. Some state the kernel shows
// to nobody, and a restored process has lost it:
//
//   - Landlock rules that hold for it: it may do again what they forbade. A program
//     that must keep them is to set them up after the restore.
//   - The keys in its session keyring. It gets a new, empty one, shared by those that
//     had one in common; never crtime's, in which the keys of a login are.
//   - Permission to use I/O ports (ioperm, iopl).
//   - Adjustments of semaphores (SEM_UNDO), if another process has used the semaphore
//     since; messages and semaphores themselves belong to the system, not to it.
//   - Who may trace it (PR_SET_PTRACER), and with whom it shares its turn at the disks
//     (CLONE_IO).
//   - The nice value of its session as a whole (autogroups), and the control groups
//     that it was in: the whole tree is in those of crtime.
//   - A mark of PR_SET_IO_FLUSHER on a process that has given up CAP_SYS_RESOURCE, and
//     the audit session.
//   - The root's parent-death signals. Its new parent is a thread of crtime that ends.
//
// Everything that takes a Runner or Stub must be called on the tracer's thread.
package tasks
