// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Errors that a caller may want to tell apart.
var (
	// ErrNoImages says that a directory holds no complete dump of crtime's.
	ErrNoImages = errors.New("no complete crtime images")
	// ErrAltered says that a file is not what the dump wrote.
	ErrAltered = errors.New("image altered")
	// ErrMissing says that a file of the dump is not there.
	ErrMissing = errors.New("image missing")
)

// Images is a directory whose files have been checked against its manifest, or one
// of CRIU's own, which has none (OpenForeign).
type Images struct {
	Dir      string   // Absolute.
	Manifest Manifest // nil: there is none.

	size int64 // Of all images, where there is no manifest.
}

// Bytes is the size of all images together.
func (im *Images) Bytes() int64 {
	if im.Manifest == nil {
		return im.size
	}
	return im.Manifest.Bytes()
}

// Open checks every file of an image directory: none missing, none of another
// size, none with another checksum. It reads all of it once.
func Open(dir string) (*Images, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image directory %s: %w", dir, err)
	}
	data, err := os.ReadFile(filepath.Join(abs, FileManifest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noManifest(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("image directory %s: %w", dir, err)
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: take the images from where they were copied from", filepath.Join(abs, FileManifest), err)
	}
	im := &Images{Dir: abs, Manifest: m}
	return im, im.check()
}

// noManifest says why there is nothing to open.
func noManifest(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("image directory: %w", err)
	}
	return fmt.Errorf("%s has no %s: %w; it was not written by crtime, or its dump did not finish",
		dir, FileManifest, ErrNoImages)
}

// check compares the files with the manifest, the cheap questions first.
func (im *Images) check() error {
	names := make([]string, len(im.Manifest))
	for i, e := range im.Manifest {
		names[i] = e.Name
		path := filepath.Join(im.Dir, e.Name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", path, ErrMissing)
		case err != nil:
			return fmt.Errorf("image: %w", err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: %w: it is not a regular file", path, ErrAltered)
		case info.Size() != e.Size:
			return fmt.Errorf("%s: %w", path, e.otherSize(info.Size()))
		}
	}
	if err := im.strangers(); err != nil {
		return err
	}
	now, err := Checksums(im.Dir, names)
	if err != nil {
		return err
	}
	for i, e := range im.Manifest {
		if now[i].Sum != e.Sum {
			return fmt.Errorf("%s: %w", filepath.Join(im.Dir, e.Name), e.otherSum(now[i].Sum))
		}
	}
	return nil
}

// strangers refuses images that the dump did not write: an engine would read
// them by their names alone.
func (im *Images) strangers() error {
	entries, err := os.ReadDir(im.Dir)
	if err != nil {
		return fmt.Errorf("image directory: %w", err)
	}
	for _, e := range entries {
		if _, known := im.Manifest.find(e.Name()); !known && Listed(e.Name()) && !im.sentElsewhere(e.Name()) {
			return fmt.Errorf("%s: %w", filepath.Join(im.Dir, e.Name()), errStranger)
		}
	}
	return nil
}

// sentElsewhere reports whether an image may be missing in the manifest because a page
// server wrote it, on another machine perhaps: then there was none with pages where the
// manifest was made.
func (im *Images) sentElsewhere(name string) bool {
	ofMemory := func(name string) bool {
		return strings.HasPrefix(name, "pages-") || strings.HasPrefix(name, "pagemap-")
	}
	return ofMemory(name) && !slices.ContainsFunc(im.Manifest, func(e Entry) bool { return ofMemory(e.Name) })
}

// Listed reports whether a file belongs into the manifest: an image, that is,
// but neither a log nor the statistics that CRIU writes after everything else.
func Listed(name string) bool {
	return strings.HasSuffix(name, suffix)
}
