// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// foreign writes the files of a plain CRIU into a new directory of that name.
func foreign(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	must(t, os.Mkdir(dir, 0o700))
	for file, data := range map[string]string{"inventory.img": "alpha", "pages-1.img": "0123456789", "dump.log": "not counted"} {
		must(t, os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600))
	}
	return dir
}

func TestOpenForeign(t *testing.T) {
	dir := foreign(t, "img")
	im, err := OpenForeign(dir)
	must(t, err)
	if im.Dir != dir || im.Manifest != nil || im.Bytes() != 15 {
		t.Errorf("got %+v of %d bytes", im, im.Bytes())
	}
	if _, err := Open(dir); !errors.Is(err, ErrNoImages) {
		t.Errorf("Open gave %v", err)
	}
}

func TestOpenForeignRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		dir  string
		harm func(t *testing.T, dir string)
		want error
	}{
		{"no directory", "img", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, os.ErrNotExist},
		{"unfinished", "img", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "inventory.img"))) }, ErrNoImages},
		{"a manifest", "img", func(t *testing.T, dir string) { must(t, os.WriteFile(filepath.Join(dir, FileManifest), nil, 0o600)) }, ErrNoImages},
		{"a clock image", "img", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "crtime-clock.img"), nil, 0o600))
		}, ErrNoImages},
		{"a dump that was interrupted", ".img.partial-123", func(*testing.T, string) {}, ErrNoImages},
		{"the same inside", "img", func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, ".img.partial-7"), 0o700)) }, ErrNoImages},
		{"a link instead", "img", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "pages-1.img")))
			must(t, os.Symlink("dump.log", filepath.Join(dir, "pages-1.img")))
		}, ErrAltered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := foreign(t, tc.dir)
			tc.harm(t, dir)
			if im, err := OpenForeign(dir); im != nil || !errors.Is(err, tc.want) {
				t.Errorf("got %v, %v, want %v", im, err, tc.want)
			}
		})
	}
}

// TestBytes takes the size from the manifest where there is one.
func TestBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "img")
	commit(t, dir, map[string][]byte{"a.img": []byte("alpha"), "dump.log": []byte("not an image")})
	im, err := Open(dir)
	must(t, err)
	if im.Bytes() != 5 {
		t.Errorf("got %d, want 5", im.Bytes())
	}
}
