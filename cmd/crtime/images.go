// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/archive"
	"github.com/crtime/crtime/restore"
)

// errNoDirectory says that an image directory is not there.
var errNoDirectory = errors.New("there is no such image directory")

// openImages checks the images of a directory and decodes their clocks. Where there is
// nothing of crtime's, they may be a plain CRIU's.
func openImages(dir string) (*restore.Images, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", dir, errNoDirectory)
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s: %w: it is a file; checkpoint archives are read by show and plan alone", dir, errNoDirectory)
	}
	return restore.OpenAny(dir)
}

// recording is the record of the clocks of a tree, from wherever it lies.
type recording struct {
	path    string // Absolute.
	images  string // How the images are called.
	bytes   int64  // What they have together.
	state   *clockstate.State
	archive *archive.Archive // nil: they lie in a directory.
}

// openRecording checks the images of a directory or a checkpoint archive, and decodes
// their clocks.
func openRecording(ctx context.Context, path string) (*recording, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return openArchive(ctx, path)
	}
	im, err := openImages(path)
	if err != nil {
		return nil, err
	}
	return &recording{path: im.Dir, images: im.Dir, bytes: im.Bytes(), state: im.State}, nil
}

// openArchive reads a checkpoint archive.
func openArchive(ctx context.Context, path string) (*recording, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint archive %s: %w", path, err)
	}
	a, err := archive.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &recording{path: abs, images: "checkpoint/", bytes: a.Sizes.Images, state: a.State, archive: a}, nil
}
