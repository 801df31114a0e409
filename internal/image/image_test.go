// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
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
		"pages.img": bytes.Repeat([]byte("0123456789abcdef"), (BlockSize+1000)/16),
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

// sums are the checksums of the blocks of a file.
func sums(data []byte) (blocks []uint32) {
	for part := range slices.Chunk(data, BlockSize) {
		blocks = append(blocks, crc32.Checksum(part, crc32.MakeTable(crc32.Castagnoli)))
	}
	return blocks
}

// TestVouch has Commit believe what is said of files. Whether it reads them shows
// in a file that is not what is said.
func TestVouch(t *testing.T) {
	files := some()
	for name, data := range files {
		dir := filepath.Join(t.TempDir(), "img")
		s, err := Stage(dir)
		must(t, err)
		for name, data := range files {
			must(t, s.WriteFile(name, data))
		}
		if Listed(name) {
			s.Vouch(name, int64(len(data)), sums(data))
		}
		if len(data) > 0 && Listed(name) {
			alter(t, filepath.Join(s.Path(), name), int64(len(data))-1)
		}
		m, err := s.Commit()
		must(t, err)
		must(t, s.Close())
		plain := filepath.Join(t.TempDir(), "img")
		commit(t, plain, files)
		want, err := Open(plain)
		must(t, err)
		if string(m.Encode()) != string(want.Manifest.Encode()) {
			t.Errorf("%s: got %v, want %v", name, m, want.Manifest)
		}
		if _, err := Open(dir); errors.Is(err, ErrAltered) != (len(data) > 0 && Listed(name)) {
			t.Errorf("%s: opened with %v", name, err)
		}
	}
}

func TestVouchRefuses(t *testing.T) {
	for name, vouch := range map[string]func(s *Staging){
		"another size":    func(s *Staging) { s.Vouch("a.img", 4, []uint32{1}) },
		"too many blocks": func(s *Staging) { s.Vouch("a.img", 5, []uint32{1, 2}) },
		"no blocks":       func(s *Staging) { s.Vouch("a.img", 5, nil) },
		"no such file":    func(s *Staging) { s.Vouch("c.img", 0, nil) },
		"not an image":    func(s *Staging) { s.Vouch("dump.log", 12, []uint32{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			s, err := Stage(filepath.Join(parent, "img"))
			must(t, err)
			must(t, s.WriteFile("a.img", []byte("alpha")))
			must(t, s.WriteFile("dump.log", []byte("not an image")))
			vouch(s)
			if _, err := s.Commit(); !errors.Is(err, errVouched) {
				t.Errorf("got %v", err)
			}
			must(t, s.Discard())
			noLeftovers(t, parent)
		})
	}
}

// TestManyFiles checks more files than there may be descriptors.
func TestManyFiles(t *testing.T) {
	var limit, low unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low = limit
	low.Cur = 64
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	files := map[string][]byte{}
	for i := range 100 {
		files[fmt.Sprintf("%03d.img", i)] = []byte{byte(i)}
	}
	dir := filepath.Join(t.TempDir(), "img")
	commit(t, dir, files)
	if _, err := Open(dir); err != nil {
		t.Error(err)
	}
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
		{"byte altered in the second block", func(t *testing.T, dir string) { alter(t, filepath.Join(dir, "pages.img"), BlockSize+3) }, ErrAltered},
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

// BenchmarkChecksums is what a restore pays before anything is made, and a dump
// for files that nobody vouches for.
func BenchmarkChecksums(b *testing.B) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		b.Setenv("TMPDIR", "/dev/shm") // Memory, not a disk.
	}
	dir := b.TempDir()
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100MB", 100 << 20}, {"1GiB", 1 << 30}} {
		b.Run(size.name, func(b *testing.B) {
			if err := os.WriteFile(filepath.Join(dir, "pages.img"), bytes.Repeat([]byte("0123456789abcdef"), size.bytes/16), 0o600); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				if _, err := Checksums(dir, []string{"pages.img"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestStageAtOnce has many dumps begin at the same place at the same time. None
// may take another's new directory for one that a killed dump left.
func TestStageAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "img")
	var dumps errgroup.Group
	for range 8 {
		dumps.Go(func() error {
			for range 200 {
				s, err := Stage(dir)
				if err != nil {
					return err
				}
				err = s.WriteFile("a.img", []byte("alpha"))
				if _, lost := os.Stat(filepath.Join(s.Path(), "a.img")); err != nil || lost != nil {
					return errors.Join(err, lost, s.Discard())
				}
				if err := s.Discard(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, dumps.Wait())
	noLeftovers(t, filepath.Dir(dir))
}

// TestSweepPassesOver plants what only looks like a directory that a dump left.
func TestSweepPassesOver(t *testing.T) {
	parent := t.TempDir()
	elsewhere := t.TempDir()
	must(t, os.WriteFile(filepath.Join(elsewhere, "kept"), nil, 0o600))
	must(t, os.Symlink(elsewhere, filepath.Join(parent, ".img.partial-1")))
	must(t, unix.Mkfifo(filepath.Join(parent, ".img.partial-2"), 0o600)) // Opening it would wait for ever.
	want := []string{".img.partial-1", ".img.partial-2"}
	if os.Geteuid() == 0 {
		const nobody = 65534
		must(t, os.Mkdir(filepath.Join(parent, ".img.partial-3"), 0o700))
		must(t, os.Chown(filepath.Join(parent, ".img.partial-3"), nobody, nobody))
		want = append(want, ".img.partial-3")
	}
	s, err := Stage(filepath.Join(parent, "img"))
	must(t, err)
	must(t, s.Discard())
	noLeftovers(t, parent, want...)
	noLeftovers(t, elsewhere, "kept")
}

// TestDiscardHalfMoved has the files get stuck on their way out of the directory
// that they were written in.
func TestDiscardHalfMoved(t *testing.T) {
	for _, stuck := range []string{"b.img", FileManifest} {
		t.Run(stuck, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			s, err := Stage(".")
			must(t, err)
			for name, data := range some() {
				must(t, s.WriteFile(name, data))
			}
			// A file cannot be renamed over a directory.
			must(t, os.MkdirAll(filepath.Join(dir, stuck, "x"), 0o700))
			if _, err := s.Commit(); err == nil {
				t.Error("the images were moved over a directory")
			}
			if _, err := os.Stat(filepath.Join(dir, "a.img")); err != nil {
				t.Errorf("nothing was moved, so that this tests nothing: %v", err)
			}
			must(t, s.Discard())
			noLeftovers(t, dir)
		})
	}
}

// TestDiscardCommitted takes a committed dump back from a directory that was there
// before, beside another dump that is under way.
func TestDiscardCommitted(t *testing.T) {
	for _, inside := range []bool{false, true} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "img")
		must(t, os.Mkdir(dir, 0o700))
		if inside {
			t.Chdir(dir)
		}
		s, err := Stage(dir)
		must(t, err)
		must(t, s.WriteFile("a.img", []byte("alpha")))
		other, err := Stage(dir)
		must(t, err)
		if _, err := s.Commit(); err != nil {
			t.Fatal(err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "stats-dump"), nil, 0o600))
		must(t, s.Discard())
		if _, err := os.Stat(other.Path()); err != nil {
			t.Errorf("the other dump's directory is gone: %v", err)
		}
		must(t, other.Discard())
		noLeftovers(t, dir)
	}
}

// TestSummer writes files in pieces, and compares with the checksums of whole files.
func TestSummer(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, BlockSize - 1, BlockSize, BlockSize + 1, 2 * BlockSize} {
		data := make([]byte, size)
		for i := 0; i < size; i += 1021 {
			data[i] = byte(i)
		}
		must(t, os.WriteFile(filepath.Join(dir, "a.img"), data, 0o600))
		want, err := Checksums(dir, []string{"a.img"})
		must(t, err)
		for _, piece := range []int{BlockSize/2 + 1, 3 * BlockSize} {
			var s Summer
			for part := range slices.Chunk(data, piece) {
				if n, err := s.Write(part); n != len(part) || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			if got := s.Entry("a.img"); got != want[0] {
				t.Errorf("%d bytes by %d: got %+v, want %+v", size, piece, got, want[0])
			}
		}
	}
}

func TestCompare(t *testing.T) {
	a, b := Entry{"a.img", 1, 2}, Entry{"b.img", 3, 4}
	for _, tc := range []struct {
		name  string
		found []Entry
		file  string
		want  error
	}{
		{"as it was", []Entry{b, a, {"dump.log", 1, 1}}, "", nil},
		{"missing", []Entry{b}, "a.img", ErrMissing},
		{"size", []Entry{a, {"b.img", 4, 4}}, "b.img", ErrAltered},
		{"checksum", []Entry{a, {"b.img", 3, 5}}, "b.img", ErrAltered},
		{"stranger", []Entry{a, b, {"c.img", 1, 1}}, "c.img", ErrAltered},
	} {
		if file, err := (Manifest{a, b}).Compare(tc.found); file != tc.file || !errors.Is(err, tc.want) {
			t.Errorf("%s: got %q, %v", tc.name, file, err)
		}
	}
}
