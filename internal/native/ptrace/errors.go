// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// ErrGone says that a thread or process does not exist any more. It is the
// error of the same name of internal/proc.
var ErrGone = proc.ErrGone

// ErrNotStopped says that an operation needs a stopped thread and this one runs.
var ErrNotStopped = errors.New("the thread is not stopped")

// ErrSelf says that crtime itself is in the tree that it was told to stop.
var ErrSelf = errors.New("crtime cannot stop itself: it is a member of the tree; start it outside")

// ErrLeaderEnded says that the first thread of a process has ended and others
// run on. No image format describes such a process.
var ErrLeaderEnded = errors.New("its first thread has ended while other threads run on, which an image cannot describe")

// ErrUnsupported says that the kernel or this machine does not know a request.
var ErrUnsupported = errors.New("not supported here")

// TracedError says that another program traces a thread already. A thread has
// one tracer at most.
type TracedError struct {
	TID    int
	Tracer int    // The tracer's thread.
	Comm   string // The tracer's name; "" when it could not be read.
}

// Error names the tracer.
func (e *TracedError) Error() string {
	return fmt.Sprintf("thread %d is traced by process %d (%s): detach that debugger or tracer first", e.TID, e.Tracer, e.Comm)
}

// PermissionError says that the kernel lets crtime not trace a thread.
type PermissionError struct {
	TID    int
	Kernel bool // It is a thread of the kernel itself.
}

// Error says what would help.
func (e *PermissionError) Error() string {
	if e.Kernel {
		return fmt.Sprintf("thread %d is a kernel thread and cannot be traced", e.TID)
	}
	return fmt.Sprintf("no permission to trace thread %d: it needs the same user, or CAP_SYS_PTRACE in its user namespace (see also kernel.yama.ptrace_scope)", e.TID)
}

// Is makes errors.Is find EPERM.
func (e *PermissionError) Is(target error) bool { return target == unix.EPERM }

// StuckError says that a thread did not stop in time.
type StuckError struct {
	PID, TID int
	State    proc.State // 'D': it waits in the kernel and cannot be interrupted.
	Cause    error      // Why the waiting ended: the context's error.
}

// Error says what is known of the reason.
func (e *StuckError) Error() string {
	why := ""
	if e.State == 'D' {
		why = ", which waits in the kernel and cannot be interrupted (a vfork whose child has not called exec, or a device or file server that does not answer)"
	}
	return fmt.Sprintf("thread %d of process %d (state %c) did not stop%s: %v", e.TID, e.PID, e.State, why, e.Cause)
}

// Unwrap gives the context's error.
func (e *StuckError) Unwrap() error { return e.Cause }
