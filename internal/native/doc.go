// SPDX-License-Identifier: Apache-2.0

// Package native is crtime's own engine: it dumps and rebuilds process trees
// with no other program on the machine.
//
// A dump stops every thread of the tree with ptrace, collects what /proc, shared
// descriptors and a process's memory tell from outside, has each process answer
// the rest by system calls run in its stopped thread, writes the images and lets
// the tree go or ends it. A restore grows each process out of a stub, a process
// that consists of one page of code: files are opened by crtime itself and handed
// over, memory is mapped by the stub and filled from outside, and only at the very
// end does the process enter the new time namespace, get its threads and its
// timers, and stop being a stub.
//
// The rooms: ptrace is the tracer, remote runs system calls in other processes,
// criuimg is the set of images, and memory, files, tasks and timers each dump and
// rebuild what their name says. This package has only the order of things.
package native
