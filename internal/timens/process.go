// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Process is a child of the calling process that executes a program of its own.
// The caller ends its use by Wait or Release. Its methods are safe for
// concurrent use, as those of os.Process are.
type Process struct {
	// PID is the process's id in the caller's pid namespace.
	PID int
	// PIDFD refers to the process and becomes readable when it exits. Wait and
	// Release close it.
	PIDFD *os.File

	handle *os.Process
}

// newProcess takes over a pidfd of a child that has not been reaped.
func newProcess(pid, pidFD int) *Process {
	// The pid cannot have been reused: nobody but us can reap it. FindProcess
	// does not fail on Linux.
	handle, err := os.FindProcess(pid)
	if err != nil {
		handle = &os.Process{Pid: pid}
	}
	return &Process{PID: pid, PIDFD: os.NewFile(uintptr(pidFD), fmt.Sprintf("pidfd of process %d", pid)), handle: handle}
}

// Wait waits for the process to exit, reaps it and closes PIDFD. An exit status
// other than zero is not an error: it is in the state.
func (p *Process) Wait() (*os.ProcessState, error) {
	state, err := p.handle.Wait()
	if err != nil {
		return nil, fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	p.PIDFD.Close()
	return state, nil
}

// AwaitSibling waits for the end of a process that is not a child of this one, and closes
// PIDFD. How it ended only its parent is told.
func (p *Process) AwaitSibling() error {
	defer p.PIDFD.Close()
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(p.PIDFD.Fd()), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Signal sends a signal to the process; os.ErrProcessDone if it has been reaped.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.handle.Signal(sig); err != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// Kill sends SIGKILL; call Wait afterwards.
func (p *Process) Kill() error { return p.Signal(unix.SIGKILL) }

// Release gives the process up without waiting for it: it goes on, and is reaped
// by whoever is its parent when this process has exited.
func (p *Process) Release() error {
	p.PIDFD.Close()
	if err := p.handle.Release(); err != nil {
		return fmt.Errorf("release process %d: %w", p.PID, err)
	}
	return nil
}

// end kills and reaps a child that must not live on. Errors mean that it is gone
// already, which is what was wanted.
func (p *Process) end() {
	_ = p.Kill()
	_, _ = p.Wait()
	p.PIDFD.Close()
}
