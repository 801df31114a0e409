// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// how says how a child is made.
type how struct {
	// clone3 holds the flags for clone3; 0 means a plain fork by clone.
	clone3 uint64
	// setTID is the pid that the child shall have; 0 lets the kernel choose.
	setTID int32
	// join is the time namespace that the child enters before it waits. Only a
	// plain fork can: whoever shares its memory gets EUSERS.
	join *os.File
	// sibling makes the child one of this process's parent.
	sibling bool
}

// clone3Outside makes a child before a new time namespace: its ns/time is still
// ours. Without CLONE_VM it would be born inside, the offsets frozen at 0.
func clone3Outside() how {
	return how{clone3: unix.CLONE_NEWTIME | unix.CLONE_VM | unix.CLONE_CLEAR_SIGHAND}
}

// plainFork makes a child by fork. It is born in the calling thread's time
// namespace for children.
func plainFork() how { return how{} }

// forkInto makes a child by fork, which then enters ns.
func forkInto(ns *os.File) how { return how{join: ns} }

// call is the system call's name, for errors.
func (h how) call() string {
	if h.clone3 != 0 {
		return "clone3"
	}
	return "clone"
}

// waiter is a child that waits to be told what to execute. It exits by itself
// when the other end of its socket closes, so also when this process dies.
type waiter struct {
	process *Process
	prog    *program
	mem     *memory
	// sock is our end of the child's socket; childSock is the number of the
	// other end in the child.
	sock      *os.File
	childSock int
}

// newWaiter makes a child and returns as soon as it exists; with how.join, as
// soon as it has entered that namespace. The caller ends it by exec or dismiss.
func newWaiter(h how) (*waiter, error) {
	b, mem, err := newBlock()
	if err != nil {
		return nil, err
	}
	w := &waiter{prog: &program{b: b}, mem: mem}
	if err := w.start(h); err != nil {
		mem.free()
		return nil, err
	}
	if h.join != nil {
		if _, err := w.sock.Read(make([]byte, 1)); err != nil {
			err = w.reason(err)
			w.dismiss()
			return nil, joinError("enter the time namespace "+h.join.Name(), err)
		}
	}
	return w, nil
}

// start makes the socket and the child. ForkLock is held from before the child's
// end of the socket exists until it is closed here: a copy of it in any other
// process would hide the end of this child, and descriptors that another
// goroutine has not yet made close-on-exec must not be copied to it.
func (w *waiter) start(h how) error {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	w.writePrelude(h, pair[0], pair[1])
	pid, err := h.clone(w.prog.b)
	if err != nil {
		unix.Close(pair[0])
		return err
	}
	w.process = newProcess(pid, int(w.prog.b.pidFD))
	w.childSock = pair[1]
	// Non-blocking at our end alone, so that waiting occupies no thread.
	if err := unix.SetNonblock(pair[0], true); err != nil {
		unix.Close(pair[0])
		w.process.end()
		return os.NewSyscallError("fcntl", err)
	}
	w.sock = os.NewFile(uintptr(pair[0]), "socket to a waiting child")
	return nil
}

// writePrelude writes what the child does before and while it waits.
func (w *waiter) writePrelude(h how, parentEnd, childEnd int) {
	p := w.prog
	if h.clone3&unix.CLONE_CLEAR_SIGHAND == 0 {
		p.resetSignals()
	}
	if h.join != nil {
		p.add("setns", unix.SYS_SETNS, h.join.Fd(), unix.CLONE_NEWTIME)
	}
	p.closeAllBut(childEnd, parentEnd)
	if h.join != nil {
		p.tell(childEnd)
	}
	p.wait(childEnd)
}

// reason turns the end of the child's socket into the reason for it.
func (w *waiter) reason(err error) error {
	if failure := w.prog.failure(); failure != nil {
		return failure
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the child was killed")
	}
	return fmt.Errorf("wait for the child: %w", err)
}

// exec makes the child execute a program and returns when the kernel has
// replaced it. The waiter is used up, whatever happens; after an error the child
// is dead and reaped.
func (w *waiter) exec(img *image) (*Process, error) {
	defer w.mem.free()
	defer w.sock.Close()
	img.write(w.prog, w.childSock)
	if err := sendFiles(int(w.sock.Fd()), img.fds()); err != nil {
		w.process.end()
		return nil, fmt.Errorf("start %s: hand over files: %w", img.path, err)
	}
	// A successful execve closes the child's end; so does its death.
	_, err := w.sock.Read(make([]byte, 1))
	_, failed := w.prog.b.failedOp()
	if failed || !errors.Is(err, io.EOF) {
		err = w.reason(err)
		w.process.end()
		return nil, fmt.Errorf("start %s: %w", img.path, err)
	}
	return w.process, nil
}

// dismiss kills and reaps the child.
func (w *waiter) dismiss() {
	w.process.end()
	w.sock.Close()
	w.mem.free()
}
