// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// commit makes a directory of images with the given files.
func commit(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	s, err := Stage(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := s.WriteFile(name, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// some are files of all the sizes that matter to the checksum.
func some() map[string][]byte {
	return map[string][]byte{
		"a.img":     []byte("alpha"),
		"b.img":     nil,
		"pages.img": bytes.Repeat([]byte("0123456789abcdef"), (block+1000)/16),
		"dump.log":  []byte("not an image"),
	}
}

// noLeftovers fails when anything but the named entries is in dir.
func noLeftovers(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestCommitAndOpen(t *testing.T) {
	for _, exists := range []bool{false, true} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "img")
		if exists {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, dir, some())
		im, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(im.Manifest) != 3 {
			t.Errorf("manifest %v, want the three images", im.Manifest)
		}
		noLeftovers(t, parent, "img")
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("mode %v of a directory that holds memory", info.Mode())
		}
	}
}

func TestCommitIntoWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	commit(t, ".", some())
	if _, err := Open("."); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, dir, "a.img", "b.img", FileManifest, "dump.log", "pages.img")
}

func TestStageRefuses(t *testing.T) {
	parent := t.TempDir()
	full := filepath.Join(parent, "full")
	commit(t, full, some())
	if _, err := Stage(full); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("full directory: %v", err)
	}
	if _, err := Stage(filepath.Join(parent, "no", "parent")); err == nil {
		t.Error("a directory without a parent was accepted")
	}
	if _, err := Stage(filepath.Join(full, "a.img")); err == nil {
		t.Error("a file was accepted as a directory")
	}
}

func TestDiscard(t *testing.T) {
	parent := t.TempDir()
	s, err := Stage(filepath.Join(parent, "img"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteFile("a.img", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, parent)
}

func TestDiscardAfterCommit(t *testing.T) {
	parent := t.TempDir()
	s, err := Stage(filepath.Join(parent, "img"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, parent)
}

func TestSweepRemovesWhatAKilledDumpLeft(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "img")
	stale := filepath.Join(parent, ".img.partial-123")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := Stage(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Discard()
	if _, err := os.Stat(stale); err == nil {
		t.Error("a stale directory was kept")
	}
	other, err := Stage(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Discard()
	if _, err := os.Stat(busy.Path()); err != nil {
		t.Error("a directory in use was swept away")
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		harm func(t *testing.T, dir string)
		want error
	}{
		{"byte altered", func(t *testing.T, dir string) { alter(t, filepath.Join(dir, "a.img"), 2) }, ErrAltered},
		{"byte altered in the second block", func(t *testing.T, dir string) { alter(t, filepath.Join(dir, "pages.img"), block+3) }, ErrAltered},
		{"truncated", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "a.img"), 4)) }, ErrAltered},
		{"emptied", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "pages.img"), 0)) }, ErrAltered},
		{"longer", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "b.img"), 1)) }, ErrAltered},
		{"missing", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "a.img"))) }, ErrMissing},
		{"a link instead", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, "a.img"), filepath.Join(dir, "x")))
			must(t, os.Symlink("x", filepath.Join(dir, "a.img")))
		}, ErrAltered},
		{"a stranger", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "c.img"), nil, 0o600))
		}, ErrAltered},
		{"manifest altered", func(t *testing.T, dir string) { alter(t, filepath.Join(dir, FileManifest), 30) }, ErrManifest},
		{"manifest truncated", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, FileManifest), 20)) }, ErrManifest},
		{"manifest missing", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, FileManifest))) }, ErrNoImages},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "img")
			commit(t, dir, some())
			tt.harm(t, dir)
			if _, err := Open(dir); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// alter flips one bit of a file.
func alter(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9 .-]{0,20}`), 0, 20, rapid.ID[string]).Draw(t, "names")
		var m Manifest
		for _, n := range names {
			m = append(m, Entry{Name: n, Size: rapid.Int64Min(0).Draw(t, "size"), Sum: rapid.Uint32().Draw(t, "sum")})
		}
		sortManifest(m)
		got, err := ParseManifest(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Encode()) != string(m.Encode()) {
			t.Errorf("got %v, want %v", got, m)
		}
	})
}

// sortManifest brings a manifest into the order that Encode expects.
func sortManifest(m Manifest) {
	for i := range m {
		for j := i; j > 0 && m[j-1].Name > m[j].Name; j-- {
			m[j-1], m[j] = m[j], m[j-1]
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(Manifest{}.Encode())
	f.Add(Manifest{{"a.img", 5, 7}, {"b.img", 0, 0}}.Encode())
	f.Add([]byte("crtime-manifest 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			if !errors.Is(err, ErrManifest) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(m.Encode(), data) {
			t.Errorf("two spellings of one manifest: %q and %q", data, m.Encode())
		}
	})
}

func BenchmarkChecksums(b *testing.B) {
	dir := b.TempDir()
	const size = 256 << 20
	if err := os.WriteFile(filepath.Join(dir, "pages.img"), make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if _, err := Checksums(dir, []string{"pages.img"}); err != nil {
			b.Fatal(err)
		}
	}
}
