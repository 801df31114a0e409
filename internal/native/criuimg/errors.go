// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"errors"
	"fmt"
)

// Errors that a caller may want to tell apart.
var (
	// ErrDamaged says that an image cannot be believed: it is cut short, or what
	// it says contradicts itself or another image.
	ErrDamaged = errors.New("image is damaged")
	// ErrUnsupported says that an image is of a kind that this engine does not
	// read. CRIU may well restore it.
	ErrUnsupported = errors.New("image is not supported by the native engine")
	// ErrParent says that memory was left in the images of an earlier dump.
	ErrParent = fmt.Errorf("%w: part of the memory is in the images of an earlier dump", ErrUnsupported)
)

// Error says which file of the images is wrong, and where.
type Error struct {
	File  string // Name in the image directory.
	Entry int    // Number of the entry from 0; -1: the file as a whole.
	Err   error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Entry < 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: entry %d: %v", e.File, e.Entry, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// damaged is an ErrDamaged of a file.
func damaged(file string, entry int, format string, args ...any) error {
	return &Error{File: file, Entry: entry, Err: fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)}
}

// unsupported is an ErrUnsupported of a file.
func unsupported(file, format string, args ...any) error {
	return &Error{File: file, Entry: -1, Err: fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)}
}
