// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/timens/nofile"
)

// program is the list of system calls that a child makes, in a block. The part
// after the wait is added while the child already waits; a child reads an
// operation only after the message that follows its writing.
type program struct {
	b *block
	// names says of each operation what it is for, for errors. It stays out of
	// the block: only the parent reads it.
	names []string
}

// add appends a call whose result must not be negative.
func (p *program) add(name string, nr uintptr, args ...uintptr) *op {
	if len(p.names) == maxOps {
		// The limits on files and signals rule this out; an unusable operation
		// is better than one outside the block.
		p.b.ops[maxOps-1].nr = ^uintptr(0)
		return &p.b.ops[maxOps-1]
	}
	o := &p.b.ops[len(p.names)]
	*o = op{nr: nr}
	copy(o.args[:], args)
	p.names = append(p.names, name)
	return o
}

// try appends a call whose failure is of no consequence.
func (p *program) try(name string, nr uintptr, args ...uintptr) {
	p.add(name, nr, args...).least = ignoreResult
}

// resetSignals gives every signal its default action, but for those that are
// ignored. It replaces CLONE_CLEAR_SIGHAND, which only clone3 has.
func (p *program) resetSignals() {
	for sig, ignored := range ignoredSignals() {
		if sig == 0 || ignored {
			continue
		}
		// SIGKILL and SIGSTOP refuse; they have no handlers either.
		p.try("rt_sigaction", unix.SYS_RT_SIGACTION, uintptr(sig), addr(&p.b.defaultAction), 0, sigmaskBytes)
	}
}

// closeAllBut closes every descriptor of the child's own table except keep.
// Before Linux 5.9 there is no close_range: then the other descriptors stay open
// until exec (all of ours are close-on-exec), which is why the one that must go,
// the parent's end of the socket, is closed by its number first.
func (p *program) closeAllBut(keep, parentEnd int) {
	p.try("close", unix.SYS_CLOSE, uintptr(parentEnd))
	if keep > 0 {
		p.try("close_range", unix.SYS_CLOSE_RANGE, 0, uintptr(keep-1), 0)
	}
	p.try("close_range", unix.SYS_CLOSE_RANGE, uintptr(keep+1), uintptr(^uint32(0)), 0)
}

// tell sends the parent one byte.
func (p *program) tell(sock int) {
	p.add("report", unix.SYS_WRITE, uintptr(sock), addr(&p.b.word), 1).least = 1
}

// wait receives one byte, and with it files, from the parent. The parent's end
// counts as failure: the child exits, whatever became of the parent.
func (p *program) wait(sock int) {
	p.b.prepareMessage()
	p.add("wait", unix.SYS_RECVMSG, uintptr(sock), addr(&p.b.message), uintptr(unix.MSG_CMSG_CLOEXEC)).least = 1
}

// place puts the received files where the new program expects them: the i-th
// file of want at descriptor i. Numbers at which files arrive are not known
// here and may be among the targets, so everything first moves above them,
// the socket too: it is closed by a successful execve, which the parent sees. So are
// the files themselves where they arrived.
func (p *program) place(sock int, want []bool) {
	above := uintptr(len(want))
	p.add("move socket", unix.SYS_FCNTL, uintptr(sock), unix.F_DUPFD_CLOEXEC, above)
	moved := make([]*op, len(want))
	arrived := 0
	for i, given := range want {
		if given {
			moved[i] = p.add(fmt.Sprintf("receive file %d", i), unix.SYS_FCNTL, 0, unix.F_DUPFD_CLOEXEC, above)
			moved[i].load = p.b.received(arrived)
			arrived++
		}
	}
	for i, from := range moved {
		if from == nil {
			continue
		}
		p.add(fmt.Sprintf("place file %d", i), unix.SYS_DUP3, 0, uintptr(i), 0).load = addr(&from.ret)
	}
}

// restoreNoFile undoes what the syscall package did to the limit on open files,
// unless somebody has set another one since. It raises a soft limit that is
// lower than the hard one minus 1 to that odd value, by which it can be told.
func (p *program) restoreNoFile() {
	soft, hard, known := nofile.Original()
	var now unix.Rlimit
	if !known || unix.Getrlimit(unix.RLIMIT_NOFILE, &now) != nil || now.Cur != hard-1 || now.Max != hard {
		return
	}
	p.b.noFile = [2]uint64{soft, hard}
	p.try("restore the limit on open files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, addr(&p.b.noFile), 0)
}

// failure says which operation failed and why; nil if none did.
func (p *program) failure() error {
	i, failed := p.b.failedOp()
	if !failed || i >= len(p.names) {
		return nil
	}
	o := p.b.ops[i]
	if o.ret >= 0 {
		return fmt.Errorf("%s: ended early (returned %d)", p.names[i], o.ret)
	}
	return &opError{name: p.names[i], errno: syscall.Errno(-o.ret)}
}

// opError is a system call of the child that failed.
type opError struct {
	name  string
	errno syscall.Errno
}

// Error names the operation and what the kernel said.
func (e *opError) Error() string { return e.name + ": " + e.errno.Error() }

// Unwrap makes errors.Is find the errno.
func (e *opError) Unwrap() error { return e.errno }
