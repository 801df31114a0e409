// SPDX-License-Identifier: Apache-2.0

package imported

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/crtime/crtime/internal/image"
)

// Source is where images lie.
type Source interface {
	// Match lists the files whose names match a pattern of package path's.
	Match(pattern string) ([]string, error)
	// Read returns a whole file and its date. One that does not exist is an
	// image.ErrMissing, one that is not regular or larger than limit, in bytes, an
	// image.ErrAltered.
	Read(name string, limit int64) ([]byte, time.Time, error)
	// Path is what a file is called in errors.
	Path(name string) string
}

// directory is a Source by its path.
type directory string

// Match implements Source.
func (d directory) Match(pattern string) ([]string, error) {
	found, err := filepath.Glob(d.Path(pattern))
	if err != nil {
		return nil, fmt.Errorf("image directory: %w", err)
	}
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return found, nil
}

// Read implements Source.
func (d directory) Read(name string, limit int64) ([]byte, time.Time, error) {
	path := d.Path(name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, fmt.Errorf("%s: %w", path, image.ErrMissing)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("image: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, time.Time{}, damaged(path, "it is no regular file, or far too large")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("image: %w", err)
	}
	return data, info.ModTime(), nil
}

// Path implements Source.
func (d directory) Path(name string) string { return filepath.Join(string(d), name) }
