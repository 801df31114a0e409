// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// inventory is what CRIU writes last, so that a dump which failed has none.
	inventory = "inventory.img"
	// ownPrefix begins the names of what crtime alone writes.
	ownPrefix = "crtime-"
	// suffix ends the names of images.
	suffix = ".img"
)

// OpenForeign opens the images that a plain CRIU has dumped. They have no manifest:
// whether they are what was written cannot be known, and only their readers will
// find what is damaged.
//
// A directory in which there is anything of crtime's is not one: it is a dump of
// crtime's that is incomplete, for Open to explain. That and a directory without an
// inventory are ErrNoImages.
func OpenForeign(dir string) (*Images, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image directory %s: %w", dir, err)
	}
	entries, err := os.ReadDir(abs)
	if err != nil {
		return nil, fmt.Errorf("image directory: %w", err)
	}
	if stagingName(filepath.Base(abs)) {
		return nil, fmt.Errorf("%s: %w: it is what an interrupted dump of crtime's has left", abs, ErrNoImages)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	if err := CheckForeign(abs, names); err != nil {
		return nil, err
	}
	im := &Images{Dir: abs}
	for _, e := range entries {
		if !Listed(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: %w: it is not a regular file", filepath.Join(abs, e.Name()), ErrAltered)
		}
		im.size += info.Size()
	}
	return im, nil
}

// CheckForeign says by the names of the files in dir whether a plain CRIU can have
// completed a dump there. The error is ErrNoImages.
func CheckForeign(dir string, names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, ownPrefix) || stagingName(name) {
			return fmt.Errorf("%s: %w: there is %s, but not all of a dump of crtime's", dir, ErrNoImages, name)
		}
	}
	if !slices.Contains(names, inventory) {
		return fmt.Errorf("%s has no %s: %w; CRIU did not finish a dump there", dir, inventory, ErrNoImages)
	}
	return nil
}

// stagingName reports whether a name is that of a staging directory of any dump.
func stagingName(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, stagingMark)
}
