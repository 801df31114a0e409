// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"strconv"
)

// ErrUntrusted says that somebody other than root and the caller could have written a
// file of settings.
var ErrUntrusted = errors.New("others could have written these settings")

// Error is a setting that cannot be taken as it is written.
type Error struct {
	Source string // The file, as it was named, or the environment variable.
	Line   int    // In a file, from 1; 0: unknown, or not a file.
	Key    string // The setting, also one that does not exist; "": the text as a whole.
	Err    error  // What is wrong, and what is allowed.
}

// Error implements error: "/etc/crtime.yaml:3: policy: ...".
func (e *Error) Error() string {
	text := e.Source
	if e.Line > 0 {
		text += ":" + strconv.Itoa(e.Line)
	}
	if _, err := find(e.Key); err == nil && e.Key != e.Source {
		text += ": " + e.Key
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }
