// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/restore"
)

// requestError is a request that cannot be understood, or asks for what is not there.
type requestError struct{ err error }

// Error implements error.
func (e *requestError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *requestError) Unwrap() error { return e.err }

// badRequest makes a requestError.
func badRequest(format string, args ...any) error { return &requestError{fmt.Errorf(format, args...)} }

// errnoOf is the number that CRIU would put into cr_errno of the response; 0: none.
func errnoOf(err error) syscall.Errno {
	if _, ok := errors.AsType[*requestError](err); ok {
		return unix.EBADRQC
	}
	for _, known := range []struct {
		err   error
		errno syscall.Errno
	}{
		{proc.ErrGone, unix.ESRCH},
		{restore.ErrPIDTaken, unix.EEXIST},
		{remote.ErrPIDTaken, unix.EEXIST},
		{engine.ErrUnsupported, unix.EOPNOTSUPP},
		{criu.ErrNotFound, unix.EOPNOTSUPP},
		{criu.ErrTooOld, unix.EOPNOTSUPP},
		{criu.ErrNoMemoryTracking, unix.EOPNOTSUPP},
		{image.ErrNoImages, unix.ENOENT},
		{image.ErrMissing, unix.ENOENT},
		{image.ErrAltered, unix.EBADMSG},
		{context.DeadlineExceeded, unix.ETIMEDOUT},
		{context.Canceled, unix.ECANCELED},
	} {
		if errors.Is(err, known.err) {
			return known.errno
		}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return 0
}

// errorText is the error as it goes into a response: some clients, go-criu among them,
// read 8 KiB and no more.
func errorText(err error) string {
	const most = 4 << 10
	text := "crtime: " + err.Error()
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "?")
}
