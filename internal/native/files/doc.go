// SPDX-License-Identifier: Apache-2.0

// Package files saves and rebuilds what processes have open: their
// descriptors, working and root directories, and the files that their memory
// and program refer to.
//
// Every sort of open file is a kind, in a file of its own (regular.go, pipe.go,
// ...), and the table in kind.go lists them. The rest of the package is what
// they share.
//
// At a dump, Survey looks at /proc while the tree runs and names what cannot be
// saved. Collect is called when every thread is stopped. It takes a duplicate
// of each open file with pidfd_getfd, so that nothing has to be asked of the
// process itself; what several descriptors share, after fork or dup, is found
// with kcmp and gets one id.
//
// At a restore, Check refuses what can be refused before there is a process.
// Then crtime itself opens every file once, under the recorded path and with
// the recorded flags, and each new process fetches its descriptors with
// pidfd_getfd and puts each at its number, all at one stop. Work that must happen
// in a process (epoll_ctl, POSIX locks) is returned by the kinds as calls for it.
// What belongs to the processes themselves is opened when they exist: files of
// /proc/PID, and /dev/tty, which the leader of a session opens when it is given
// its controlling terminal (TakeTerminal).
//
// The entries are CRIU's. What they have no place for stands in fields of crtime's
// own, which CRIU skips (extension.go). The tests hold both against CRIU: what it
// says of the same processes, and what becomes of its images here.
//
// What is looked at outside crtime (descriptors of the tree, and, for what pipes and
// sockets lead to, those of everybody else) is looked at by all cores: a tree stands
// still meanwhile. All else is one goroutine's.
//
// Nothing here is safe for concurrent use. Whatever takes a remote.Runner
// belongs to the ptrace thread.
package files
