// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"fmt"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/imported"
)

// OpenAny is Open, and OpenCRIU where there is nothing of crtime's and CRIU has
// completed a dump. If neither is there the error is Open's.
func OpenAny(dir string) (*Images, error) {
	images, err := Open(dir)
	if !errors.Is(err, image.ErrNoImages) {
		return images, err
	}
	plain, plainErr := OpenCRIU(dir)
	if errors.Is(plainErr, image.ErrNoImages) {
		return nil, err
	}
	return plain, plainErr
}

// OpenCRIU opens a directory that a plain CRIU has dumped, without anything of
// crtime's in it, and takes the clocks from CRIU's own record of them.
//
// That record knows less than crtime's: State.Recorded says which clocks, and a plan's
// warnings what that means for a restore. The images have no checksums, so whoever
// can must see to it that they are what was dumped.
//
// The error is ErrNoClocks where CRIU has recorded none, one that wraps
// image.ErrNoImages where there are no images of CRIU's alone, or one of
// package imported's. Nothing is touched.
func OpenCRIU(dir string) (*Images, error) {
	found, err := image.OpenForeign(dir)
	if err != nil {
		return nil, err
	}
	state, err := imported.State(found.Dir)
	if errors.Is(err, imported.ErrNoClocks) {
		return nil, fmt.Errorf("%s: %w: %w", found.Dir, ErrNoClocks, err)
	}
	if err != nil {
		return nil, err
	}
	return &Images{Images: found, State: state}, nil
}
