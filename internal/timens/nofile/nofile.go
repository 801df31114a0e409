// SPDX-License-Identifier: Apache-2.0

// Package nofile knows the limit on open files that this process was started
// with.
//
// The syscall package raises the soft limit nearly to the hard one when it
// initialises, and lowers it again for programs that os/exec starts, but tells nobody what it
// was. Programs that use select, or that close every descriptor up to the limit,
// suffer from a large one. So this package must initialise before syscall does:
// the Go specification has packages initialised in the order of their import
// paths once all that they import is, and this one's path sorts first and it
// imports nothing. That is why its system call is its own assembly. If the order
// ever changes, the limit found is the raised one, and the test says so.
package nofile

// limit is the kernel's struct rlimit64.
type limit struct{ soft, hard uint64 }

// original is written once, at initialisation.
//
//nolint:gochecknoglobals // Later nobody can know it any more.
var original, known = read()

// read asks the kernel; false if it does not answer.
func read() (limit, bool) {
	var l limit
	errno := getrlimit(&l)
	return l, errno == 0
}

// getrlimit reads RLIMIT_NOFILE of this process and returns 0 or a negative
// errno.
//
//go:noescape
func getrlimit(l *limit) int

// Original returns the soft and the hard limit on open files that this process
// was started with; false if it is not known.
func Original() (soft, hard uint64, ok bool) {
	return original.soft, original.hard, known
}
