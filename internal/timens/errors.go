// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// What callers branch on. Every error of this package that has one of these
// reasons matches it with errors.Is, and matches the kernel's errno as well.
var (
	// ErrNotSupported: this kernel has no time namespaces, or not in the way
	// that was asked for.
	ErrNotSupported = errors.New("not supported by this kernel")
	// ErrPrivilege: the caller lacks a capability.
	ErrPrivilege = errors.New("privilege missing")
	// ErrOutOfRange: with these offsets a clock would read less than zero or
	// more than 4611686018 seconds (half of the kernel's largest time).
	ErrOutOfRange = errors.New("offset out of the kernel's range")
	// ErrFrozen: a process has entered the namespace, or whoever stood before it
	// is gone; its offsets can never be written again.
	ErrFrozen = errors.New("the namespace's offsets are frozen")
	// ErrForChildren: the process lives in one time namespace while its children
	// will live in another; what was read belongs to the latter.
	ErrForChildren = errors.New("the offsets belong to the namespace for children")
	// ErrClosed: the Holder was closed or has already been used up by Exec.
	ErrClosed = errors.New("holder is closed")
)

// reasonError pairs one of the sentinels with what the kernel said. Neither is
// lost: errors.Is finds both.
type reasonError struct {
	reason error
	cause  error
	// advice says what the user can change; empty if there is nothing.
	advice string
}

// Error returns "reason: cause; advice".
func (e *reasonError) Error() string {
	s := fmt.Sprintf("%v: %v", e.reason, e.cause)
	if e.advice != "" {
		s += "; " + e.advice
	}
	return s
}

// Unwrap makes errors.Is and errors.As find the reason and the cause.
func (e *reasonError) Unwrap() []error { return []error{e.reason, e.cause} }

// What the user can change, by what was tried.
const (
	adviceCreate = "creating a time namespace needs CAP_SYS_ADMIN (run as root, or inside a user namespace of your own)"
	adviceWrite  = "setting offsets needs CAP_SYS_TIME in the user namespace that owns the time namespace (run as root, or inside a user namespace of your own)"
	adviceJoin   = "entering a time namespace needs CAP_SYS_ADMIN, both in the user namespace that owns it and in the caller's own"
	adviceLook   = "reading another process's namespaces needs the right to trace it (same user, or CAP_SYS_PTRACE)"
	adviceFrozen = "write the offsets before the first process enters (fork, exec or setns)"
	adviceRange  = "the host's clock plus its offset must lie between 0 and 4611686018 seconds"
	adviceKernel = "time namespaces need Linux 5.6 with CONFIG_TIME_NS"
)

// errnoOf returns the errno inside err, or 0.
func errnoOf(err error) syscall.Errno {
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}

// createError explains a failed clone3 or unshare with CLONE_NEWTIME.
func createError(op string, err error) error {
	switch errnoOf(err) {
	case unix.EPERM:
		err = &reasonError{ErrPrivilege, err, adviceCreate}
	case unix.EINVAL, unix.ENOSYS:
		err = &reasonError{ErrNotSupported, err, adviceKernel}
	case unix.ENOSPC:
		err = fmt.Errorf("%w; the limit is in /proc/sys/user/max_time_namespaces", err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// joinError explains a failed setns into a time namespace.
func joinError(op string, err error) error {
	switch errnoOf(err) {
	case unix.EPERM:
		err = &reasonError{ErrPrivilege, err, adviceJoin}
	case unix.EINVAL, unix.ENOSYS:
		err = &reasonError{ErrNotSupported, err, adviceKernel}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// writeError explains a failed write to a timens_offsets file. The same EACCES
// means "frozen" here and "file permissions" in lookError: the file's mode is
// checked by open, the namespace by write.
func writeError(op string, err error) error {
	switch errnoOf(err) {
	case unix.EPERM:
		err = &reasonError{ErrPrivilege, err, adviceWrite}
	case unix.EACCES:
		err = &reasonError{ErrFrozen, err, adviceFrozen}
	case unix.ESRCH:
		// The file belongs to a process; nobody else's can write these offsets.
		err = &reasonError{ErrFrozen, err, "the process that stood before the namespace has exited"}
	case unix.ERANGE:
		err = &reasonError{ErrOutOfRange, err, adviceRange}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// lookError explains a failed open or readlink below /proc/PID. A process that
// does not exist stays fs.ErrNotExist; a file that does not exist although its
// process does is a kernel without time namespaces.
func lookError(op, pid string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		err = &reasonError{ErrPrivilege, err, adviceLook}
	case errors.Is(err, fs.ErrNotExist):
		if unix.Access("/proc/"+pid+"/ns", unix.F_OK) == nil {
			err = &reasonError{ErrNotSupported, err, adviceKernel}
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}
