// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. They come wrapped with what they are about;
// compare with [errors.Is].
var (
	// ErrOverflow: a sum or difference of times does not fit in [Nanos].
	ErrOverflow = errors.New("time out of the range of 64-bit nanoseconds")
	// ErrOutOfRange: a clock would get a value that the kernel does not accept.
	ErrOutOfRange = errors.New("clock value out of the kernel's range")
	// ErrNotRecorded: the state does not hold what the request needs.
	ErrNotRecorded = errors.New("not recorded in the clock image")
	// ErrFuture: the state was recorded on this very boot, later than now.
	ErrFuture = errors.New("recorded in the future of this boot")
	// ErrInvalid: a state, reading or option contradicts itself.
	ErrInvalid = errors.New("invalid clock state")

	// ErrMagic: the bytes are not a clock image.
	ErrMagic = errors.New("not a crtime clock image")
	// ErrTruncated: a clock image ends too early.
	ErrTruncated = errors.New("clock image is truncated")
	// ErrAltered: a clock image is not what was written.
	ErrAltered = errors.New("clock image has been altered")
	// ErrNewer: a newer crtime with another format wrote the clock image.
	ErrNewer = errors.New("clock image was written by a newer crtime")
)

// RangeError says that a plan would give a clock of a namespace a value that
// the kernel refuses. errors.Is(err, [ErrOutOfRange]) is true for it.
type RangeError struct {
	// Clock is the clock that would be out of range.
	Clock Clock
	// Namespace is the recorded time namespace's inode number.
	Namespace uint64
	// Value is the most that the clock would read at the resume instant.
	Value Nanos
	// Overflow is set if the value does not even fit in Nanos; Value is then 0.
	Overflow bool
}

// Error implements error.
func (e *RangeError) Error() string {
	value := e.Value.String()
	if e.Overflow {
		value = "more than 292 years away from 0"
	}
	return fmt.Sprintf("%v of time namespace %d would read %s at resume, but the kernel accepts 0s to %v: "+
		"check the recorded and this host's clocks, or choose policy freeze, which adds nothing to them", e.Clock, e.Namespace, value, MaxReading)
}

// Unwrap returns [ErrOutOfRange], and [ErrOverflow] too where that is the case.
func (e *RangeError) Unwrap() []error {
	if e.Overflow {
		return []error{ErrOutOfRange, ErrOverflow}
	}
	return []error{ErrOutOfRange}
}
