// SPDX-License-Identifier: Apache-2.0

// Package timens makes, reads and enters the kernel's time namespaces.
//
// A time namespace gives MONOTONIC and BOOTTIME an offset. The offsets can be
// written only between the namespace's creation and the first process's entry;
// then they are frozen for ever. The work of this package is to open that gap
// and to keep it open for as long as the caller needs.
//
// # How
//
// A [Holder] is a namespace that nobody has entered. On kernels where
// clone3(CLONE_NEWTIME|CLONE_VM) leaves the child outside (observed since 6.12),
// a child that shares our memory waits for word from us on a socket; the
// namespace is the one that its children, or itself after execve, will live in.
// Elsewhere (6.1 accepts the flags and freezes the offsets at once, without an
// error) a thread of ours unshares its time namespace and waits instead. Which
// way is taken is found by looking at the child, never by the kernel's version.
//
// CLONE_VFORK would suspend the calling thread until the child execs, so that
// the child, in assembly, would have to open, write and check the offsets.
// Without it the parent goes on and does all of that in Go, with good errors.
//
// # The child
//
// A child of a Go process that is not a Go program of its own must never run Go
// code: with CLONE_VM it would share the runtime's state without being one of
// the runtime's threads, and after a plain fork all other threads are gone. So
// the child runs one small assembly loop, which issues the system calls of a
// list (see program.go) in an area made by mmap, outside the Go heap: the garbage
// collector neither moves nor frees it. The child has its own stack there, all
// signals blocked and no handlers, and its own descriptor table, from which it
// closes everything but its socket. So a waiting child keeps nothing of ours
// open, and when we die, however, its socket ends and it exits.
//
// # Rules
//
// Offsets are relative to the initial time namespace, wherever the caller lives.
// All functions are safe for concurrent use; a Holder's and a Process's methods
// are as their comments say. syscall.ForkLock is held while a child is made, as
// os.StartProcess does. The whole process must never call setns for a time
// namespace: a multi-threaded process gets EUSERS.
package timens
