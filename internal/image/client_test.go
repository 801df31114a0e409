// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenClient(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, tt := range []struct {
		name string
		fd   int32
		path string
		want error
	}{
		{"by descriptor", int32(open.Fd()), "", nil},
		{"the descriptor counts", int32(open.Fd()), "/nowhere", nil},
		{"by path", -1, dir, nil},
		{"no path", -1, "", errNoDir},
		{"nowhere", -1, filepath.Join(dir, "nowhere"), fs.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := OpenClient(tt.fd, tt.path)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if got.Name() != dir || got.Fd() == open.Fd() {
				t.Errorf("got %s as descriptor %d", got.Name(), got.Fd())
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
