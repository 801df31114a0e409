// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/crtime/crtime/internal/image"
)

// Errors that a caller may want to tell apart. A damaged archive is image.ErrAltered or
// image.ErrMissing as a damaged directory is, or an error of package clockstate's.
var (
	// ErrFormat says that a file is no archive of a kind that can be read.
	ErrFormat = errors.New("not an archive that crtime can read")
	// ErrNoCheckpoint says that an archive holds no checkpoint of a container.
	ErrNoCheckpoint = errors.New("no checkpoint of a container")
	// ErrTruncated says that an archive ends too early.
	ErrTruncated = errors.New("archive is truncated")
	// ErrTooLarge says that there is more of something than crtime keeps in memory.
	ErrTooLarge = errors.New("too large")
	// ErrNoClocks says that the images in an archive hold no record of the clocks.
	ErrNoClocks = errors.New("no recorded clocks")
)

// Error is what is wrong with an archive, and where.
type Error struct {
	Archive string // As it was named to Open or Read.
	Member  string // The file in it; "" if it is about none.
	Err     error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Member == "" {
		return fmt.Sprintf("%s: %v", e.Archive, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Archive, safe(e.Member), e.Err)
}

// safe is a name out of an archive, quoted if it has characters that could do something to
// a terminal.
func safe(name string) string {
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// memberError is an Error before it is known of which archive.
type memberError struct {
	member string
	err    error
}

// Error implements error.
func (e *memberError) Error() string { return e.member + ": " + e.err.Error() }

// Unwrap returns the reason.
func (e *memberError) Unwrap() error { return e.err }

// about says that an error is about a file in the archive.
func about(member string, err error) error { return &memberError{member, err} }

// in completes an error of an archive.
func in(archive string, err error) error {
	if m, ok := errors.AsType[*memberError](err); ok {
		return &Error{Archive: archive, Member: m.member, Err: m.err}
	}
	return &Error{Archive: archive, Err: err}
}

// sourceError is an error of whoever delivers an archive, and not of its content.
type sourceError struct{ err error }

// Error implements error.
func (s *sourceError) Error() string { return s.err.Error() }

// Unwrap returns the reason.
func (s *sourceError) Unwrap() error { return s.err }

// reason says what an error of a decoder means: they have many for one thing.
func reason(err error) error {
	source, isSource := errors.AsType[*sourceError](err)
	switch {
	case isSource:
		return source.err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ErrTruncated
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: what should be the head of a file is none", image.ErrAltered)
	}
	return fmt.Errorf("%w: %w", image.ErrAltered, err)
}
