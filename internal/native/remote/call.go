// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Call is one system call to be made by another thread.
type Call struct {
	// Name is for errors: "open /etc/passwd".
	Name string
	// Nr is the call's number on this machine.
	Nr uintptr
	// Args are the arguments; addresses are the target's.
	Args [6]uint64
	// From[i] = k > 0 replaces argument i by the result of the k-th call
	// (counted from 1) of the same batch, which must be an earlier one.
	From [6]uint8
	// Must ends the batch at this call if it fails.
	Must bool

	// Ret is the kernel's answer: a negative errno on failure.
	Ret int64
	// Done says that the call was made.
	Done bool
}

// maxErrno is the largest error number: results above -4096 are errors, all
// others are values (an address may look negative).
const maxErrno = 4095

// failed says whether the kernel answered with an error.
func (c *Call) failed() bool { return c.Ret < 0 && c.Ret >= -maxErrno }

// Err is nil if the call was made and succeeded, otherwise a *CallError.
func (c *Call) Err() error {
	switch {
	case !c.Done:
		return &CallError{Name: c.Name, Errno: unix.ECANCELED}
	case c.failed():
		return &CallError{Name: c.Name, Errno: unix.Errno(-c.Ret)}
	default:
		return nil
	}
}

// CallError is a system call that failed in another process.
type CallError struct {
	// Name is the call's name as its maker gave it.
	Name string
	// Errno is what the kernel answered; ECANCELED if the call was never made
	// because an earlier one of its batch failed.
	Errno unix.Errno
}

func (e *CallError) Error() string { return fmt.Sprintf("%s: %s", e.Name, e.Errno) }

// Unwrap makes errors.Is find the errno.
func (e *CallError) Unwrap() error { return e.Errno }
