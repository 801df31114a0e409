// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/crtime/crtime/restore"
)

// errNoDirectory says that an image directory is not there.
var errNoDirectory = errors.New("there is no such image directory")

// openImages checks the images of a directory and decodes their clocks. Where there is
// nothing of crtime's, they may be a plain CRIU's.
func openImages(dir string) (*restore.Images, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, errNoDirectory)
	}
	return restore.OpenAny(dir)
}
