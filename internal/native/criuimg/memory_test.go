// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// folderInMemory is an image directory that no disk has.
type folderInMemory struct{ fstest.MapFS }

func newFolder() folderInMemory { return folderInMemory{fstest.MapFS{}} }

// WriteFile implements folder.
func (f folderInMemory) WriteFile(name string, data []byte) error {
	f.MapFS[name] = &fstest.MapFile{Data: bytes.Clone(data), Mode: 0o600}
	return nil
}

// Create implements folder.
func (f folderInMemory) Create(name string) (io.WriteCloser, error) {
	return &fileInMemory{folder: f, name: name}, nil
}

// fileInMemory appears in its folder when it is closed.
type fileInMemory struct {
	bytes.Buffer
	folder folderInMemory
	name   string
}

// Close implements io.Closer.
func (f *fileInMemory) Close() error { return f.folder.WriteFile(f.name, f.Bytes()) }

// with is the folder with one file changed. The others are shared.
func (f folderInMemory) with(name string, data []byte) folderInMemory {
	other := folderInMemory{maps.Clone(f.MapFS)}
	other.MapFS[name] = &fstest.MapFile{Data: data, Mode: 0o600}
	return other
}

// without is the folder with one file less.
func (f folderInMemory) without(name string) folderInMemory {
	other := folderInMemory{maps.Clone(f.MapFS)}
	delete(other.MapFS, name)
	return other
}

// names are the files of a kind; nil: of all but pages, which have no form.
func (f folderInMemory) names(k *kind) []string {
	var names []string
	for name := range f.MapFS {
		of, _ := kindOf(name)
		if of == k || k == nil && of != &kindPages {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// inMemory is a directory of images, read into memory.
func inMemory(t testing.TB, dir string) folderInMemory {
	t.Helper()
	f := newFolder()
	for _, name := range imageNames(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f.MapFS[name] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return f
}

// fixtureInMemory is the fixture, with the kinds of images that it lacks.
func fixtureInMemory(t testing.TB) folderInMemory {
	t.Helper()
	f := inMemory(t, loadFixture(t))
	for name, data := range madeUp() {
		f.MapFS[name] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return f
}

// checkLoad loads images and checks what Load promises: an error says which file
// is at fault and how, and a set is consistent and can be encoded and decoded to
// an equal one. It returns the error.
func checkLoad(t testing.TB, f folderInMemory) error {
	t.Helper()
	s, err := load(f)
	if (s == nil) == (err == nil) {
		t.Fatalf("got the set %v and the error %v", s, err)
	}
	if err != nil {
		var at *Error
		if !errors.As(err, &at) || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("the error is neither damage nor lack of support: %v", err)
		}
		if k, _ := kindOf(at.File); k == nil && stranger(at.File) == nil || !strings.Contains(err.Error(), at.File) {
			t.Fatalf("the error does not name the file: %v", err)
		}
		return err
	}
	if err := s.Check(); err != nil {
		t.Fatalf("what was loaded is not consistent: %v", err)
	}
	once := reencode(t, s, f)
	again, err := load(once)
	if err != nil {
		t.Fatalf("what was encoded cannot be decoded: %v", err)
	}
	sameFolder(t, once, reencode(t, again, f))
	return nil
}

// reencode encodes a set into a new folder, with the pages of another.
func reencode(t testing.TB, s *Set, pages folderInMemory) folderInMemory {
	t.Helper()
	out := newFolder()
	if err := s.encode(out); err != nil {
		t.Fatalf("what was loaded cannot be encoded: %v", err)
	}
	for name, file := range pages.MapFS {
		if k, _ := kindOf(name); k == &kindPages {
			out.MapFS[name] = file
		}
	}
	return out
}

// sameFolder compares all files.
func sameFolder(t testing.TB, a, b folderInMemory) {
	t.Helper()
	if len(a.MapFS) != len(b.MapFS) {
		t.Fatalf("%d images became %d", len(a.MapFS), len(b.MapFS))
	}
	for name, file := range a.MapFS {
		if other := b.MapFS[name]; other == nil || !bytes.Equal(file.Data, other.Data) {
			t.Fatalf("%s is not the same after it was decoded and encoded", name)
		}
	}
}

// madeUp are images of the kinds that the fixture has none of.
func madeUp() map[string][]byte {
	files := make(map[string][]byte)
	for _, m := range madeUpMessages() {
		s := newSink(m.kind)
		s.put(m.message)
		files[m.kind.name(0)] = s.buf
	}
	return files
}

var _ fs.FS = folderInMemory{}
