// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/crtime/crtime/internal/image"
)

// held are the images from which a plain CRIU's record of the clocks is made, in memory:
// whether an archive has one of crtime's is known only when they have passed. It is an
// imported.Source.
type held struct {
	files map[string]heldFile
	size  int64
	// over is set once there is no use for them, or too much: then none is kept.
	over, tooLarge bool
}

// heldFile is an image and its date in the archive.
type heldFile struct {
	data []byte
	date time.Time
}

// wants reports whether an image of a name and size is to be kept.
func (h *held) wants(name string, size int64) bool {
	if h.over || !slices.ContainsFunc([]string{"inventory.img", "pstree.img", statsFile, "timens-*.img", "core-*.img", "ids-*.img"},
		func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }) {
		return false
	}
	if size > maxHeld-h.size {
		h.drop()
		h.tooLarge = true
		return false
	}
	h.size += size
	return true
}

// keep keeps an image.
func (h *held) keep(name string, f heldFile) {
	if h.files == nil {
		h.files = map[string]heldFile{}
	}
	h.files[name] = f
}

// drop forgets them all.
func (h *held) drop() { h.files, h.over = nil, true }

// Match implements imported.Source.
func (h *held) Match(pattern string) ([]string, error) {
	var names []string
	for name := range h.files {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Read implements imported.Source.
func (h *held) Read(name string, limit int64) ([]byte, time.Time, error) {
	f, ok := h.files[name]
	switch {
	case !ok:
		return nil, time.Time{}, about(h.Path(name), image.ErrMissing)
	case int64(len(f.data)) > limit:
		return nil, time.Time{}, about(h.Path(name), fmt.Errorf("%w: it is far too large", image.ErrAltered))
	}
	return f.data, f.date, nil
}

// Path implements imported.Source.
func (*held) Path(name string) string { return imagesFolder + name }
