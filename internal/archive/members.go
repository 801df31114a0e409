// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/crtime/crtime/internal/image"
)

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// heeding reads until ctx ends, marks the errors of r as its own, and counts in taken.
func heeding(ctx context.Context, r io.Reader, taken *int64) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, &sourceError{err}
		}
		n, err := r.Read(p)
		*taken += int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			err = &sourceError{err}
		}
		return n, err
	})
}

// The sizes of a tar file's blocks and of the two blocks of zeros that end it, in bytes.
const (
	tarBlock = 512
	tarEnd   = 2 * tarBlock
)

// members are the files of an archive, in their order.
type members struct {
	tar   *tar.Reader
	plain io.Reader // What tar reads.
	taken int64     // How much of it has been.
	count int
	last  string // The name of the present one.
}

// newMembers reads a tar file.
func newMembers(plain io.Reader) *members {
	m := &members{}
	m.plain = readerFunc(func(p []byte) (int, error) {
		n, err := plain.Read(p)
		m.taken += int64(n)
		return n, err
	})
	m.tar = tar.NewReader(m.plain)
	return m
}

// next returns the head of the next member, whose name is then last. All of the present
// one must have been read. The error is io.EOF at the end, if that is where the archive
// ends and all before it was whole.
func (m *members) next() (*tar.Header, error) {
	before := m.taken
	h, err := m.tar.Next()
	if errors.Is(err, io.EOF) {
		// Package tar also takes it for the end if there is just nothing more.
		padding := -before & (tarBlock - 1)
		if m.taken-before < padding+tarEnd {
			return nil, m.behind(ErrTruncated)
		}
		return nil, m.finish()
	}
	if err != nil {
		if m.count == 0 && errors.Is(err, tar.ErrHeader) {
			return nil, fmt.Errorf("%w: it is no tar file", ErrFormat)
		}
		return nil, m.behind(reason(err))
	}
	if m.count++; m.count > maxMembers {
		return nil, fmt.Errorf("%w: it has more than %d files", ErrTooLarge, maxMembers)
	}
	m.last = path.Clean(h.Name)
	return h, m.check(h)
}

// behind says that an error was found where the next member should have begun.
func (m *members) behind(err error) error {
	if m.last == "" {
		return err
	}
	return fmt.Errorf("behind %s: %w", safe(m.last), err)
}

// check refuses heads that no container engine writes.
func (m *members) check(h *tar.Header) error {
	if !filepath.IsLocal(h.Name) {
		return about(h.Name, fmt.Errorf("%w: its name leads out of the archive", image.ErrAltered))
	}
	sparse := h.Typeflag == tar.TypeGNUSparse
	for key := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	if sparse {
		// Some bytes of it can stand for more than anybody can read.
		return about(m.last, fmt.Errorf("%w: a file is stored without its holes", ErrFormat))
	}
	return nil
}

// finish reads what follows the end: zeros up to the end of a block of a tape's, and the
// checksum of the compression. The error is io.EOF if all is well.
func (m *members) finish() error {
	buffer := make([]byte, 8*tarBlock)
	for {
		n, err := m.plain.Read(buffer)
		for _, b := range buffer[:n] {
			if b != 0 {
				return m.behind(fmt.Errorf("%w: something follows the end of the archive", image.ErrAltered))
			}
		}
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return m.behind(reason(err))
		}
	}
}
