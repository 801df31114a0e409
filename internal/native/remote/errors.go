// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
)

// ErrMachine says that the package is not written for this machine.
var ErrMachine = errors.New("running system calls in other processes is written for x86-64 only")

// ErrPIDTaken says that a process number that was asked for is in use.
var ErrPIDTaken = errors.New("the process number is in use")

// ErrNotAllowed says that crtime may not choose process numbers.
var ErrNotAllowed = errors.New("choosing a process number needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the user namespace that owns the pid namespace")

// TargetError says why system calls cannot be run in a process. Nothing in it has
// been changed.
type TargetError struct {
	PID int
	Why string
	Err error // What the kernel said, if it was asked.
}

func (e *TargetError) Error() string {
	text := fmt.Sprintf("cannot run system calls in process %d: %s", e.PID, e.Why)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the kernel's error.
func (e *TargetError) Unwrap() error { return e.Err }
