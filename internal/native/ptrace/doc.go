// SPDX-License-Identifier: Apache-2.0

// Package ptrace stops threads of other processes and looks into them.
//
// The kernel ties a traced thread to the one thread that traces it, so the work
// is done inside Run, which gives a function an operating system thread of its
// own and a Tracer that is of use only there. A Tracer turns thread numbers
// into Threads (Seize, SeizeOwn, Adopt), and a Thread can be stopped, asked for
// its registers, made to run on and let go. Freeze does this to a whole tree
// of processes at once.
//
// Rules:
//
//   - Tracer, Thread and Tree belong to the function given to Run. None is safe
//     for concurrent use, and none works on another thread.
//   - Only PTRACE_SEIZE is used. It sends no signal, a process that is stopped
//     by a signal stays so, and a tracer that is killed leaves its target
//     running.
//   - Every wait names one thread. Stops of other threads, and children that
//     other parts of crtime have, are never collected by it. In turn nobody else
//     may wait for a child of crtime while it is traced: the kernel would hand
//     out its stops.
//   - What a traced thread would have noticed must still reach it: a signal that
//     Wait reports is lost unless it is given to Continue or Detach.
//
// A thread that ends while it is traced is an ordinary answer: ErrGone.
package ptrace
