// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// children are those of a keeper: what it has started, and what others have left.
type children struct {
	mu      sync.Mutex // Held while a child is being started.
	waiting map[int]chan<- int
	over    bool // There are none, and will be no more.
}

// errOver says that all processes have ended.
var errOver = errors.New("the last process has ended")

func newChildren() *children { return &children{waiting: map[int]chan<- int{}} }

// add starts a child whose status, as a shell has it, goes to ended, which has room for
// it; nil: nobody waits.
func (c *children) add(start func() (int, error), ended chan<- int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return errOver
	}
	pid, err := start()
	if err == nil && ended != nil {
		c.waiting[pid] = ended
	}
	return err
}

// await collects children until one has said how it ended.
func (c *children) await(ended <-chan int) int {
	for {
		select {
		case status := <-ended:
			return status
		default:
			if _, _, err := c.next(); err != nil {
				return 1
			}
		}
	}
}

// collect collects children until there are none, and returns the status of one.
func (c *children) collect(main int) (int, error) {
	status := 0
	for {
		pid, its, err := c.next()
		switch {
		case errors.Is(err, unix.ECHILD) && c.end():
			return status, nil
		case errors.Is(err, unix.ECHILD): // One has been started in between.
		case err != nil:
			return 0, err
		case pid == main:
			status = its
		}
	}
}

// end has no children be started any more, unless one has been that is waited for.
func (c *children) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = len(c.waiting) == 0
	return c.over
}

// next waits for the end of a child. Its number is free only when nobody can send it a
// signal any more.
func (c *children) next() (pid, status int, err error) {
	var info unix.Siginfo
	if err := again(func() error { return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT|unix.WALL, nil) }); err != nil {
		return 0, 0, os.NewSyscallError("waitid", err)
	}
	pid = childOf(&info)
	c.mu.Lock()
	defer c.mu.Unlock()
	var ws unix.WaitStatus
	err = again(func() error { _, err := unix.Wait4(pid, &ws, unix.WALL, nil); return err })
	if errors.Is(err, unix.ECHILD) {
		return 0, 0, nil // It has failed to start, and who started it has collected it.
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("wait4", err)
	}
	if status = ws.ExitStatus(); ws.Signaled() {
		status = 128 + int(ws.Signal())
	}
	if ended := c.waiting[pid]; ended != nil {
		ended <- status
		delete(c.waiting, pid)
	}
	return pid, status, nil
}

// signal sends a child a signal, if somebody still waits for it.
func (c *children) signal(pid int, signal unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[pid] != nil {
		_ = unix.Kill(pid, signal) // It may be a zombie.
	}
}

// again makes a call until it is not interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
