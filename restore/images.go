// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/image"
)

// ErrNoClocks says that images hold no record of the clocks.
var ErrNoClocks = errors.New("no recorded clocks")

// Images are a dump with its clocks: one of crtime's that has been checked (Open), or
// one of a plain CRIU (OpenCRIU).
type Images struct {
	*image.Images

	State *clockstate.State
}

// Open checks every image of a directory and decodes the clocks. It touches
// nothing else. The error is one of package clockstate's or internal/image's.
func Open(dir string) (*Images, error) {
	checked, err := image.Open(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(checked.Dir, clockstate.FileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it is a pre-dump, or was not made by crtime", dir, ErrNoClocks)
	}
	if err != nil {
		return nil, fmt.Errorf("clock image: %w", err)
	}
	state, err := clockstate.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Images{Images: checked, State: state}, nil
}
