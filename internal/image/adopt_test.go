// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// clientDir is a directory as a container runtime gives it: with files of its own, and
// with an earlier dump in it.
func clientDir(t *testing.T) (path string, dir *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "checkpoint")
	commit(t, path, map[string][]byte{"old.img": []byte("old"), "both.img": []byte("first")})
	if err := os.WriteFile(filepath.Join(path, "descriptors.json"), []byte("[]"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return path, dir
}

// adopt adopts a directory and writes images into it.
func adopt(t *testing.T, dir *os.File) *Staging {
	t.Helper()
	s, err := Adopt(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new.img", "both.img", inventory} {
		if err := s.WriteFile(name, []byte("second")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Path(), "dump.log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdopt(t *testing.T) {
	path, dir := clientDir(t)
	s := adopt(t, dir)
	if _, err := Open(path); !errors.Is(err, ErrNoImages) {
		t.Errorf("a dump that goes on can be opened: %v", err)
	}
	if _, err := OpenForeign(path); !errors.Is(err, ErrNoImages) {
		t.Errorf("a dump that goes on is taken for CRIU's: %v", err)
	}
	if _, err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err != nil {
		t.Error(err)
	}
	noLeftovers(t, path, "both.img", FileManifest, "descriptors.json", "dump.log", inventory, "new.img")
	info, err := os.Stat(filepath.Join(path, "descriptors.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the client's own file: %v, %v; want mode 0644", info, err)
	}
	if _, err := dir.Stat(); err != nil {
		t.Errorf("the client's descriptor: %v", err)
	}
}

func TestAdoptDiscard(t *testing.T) {
	for _, committed := range []bool{false, true} {
		path, dir := clientDir(t)
		s := adopt(t, dir)
		if committed {
			if _, err := s.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
		// What was written over is gone, and what is left of the earlier dump is no whole.
		want := []string{unfinished, "descriptors.json", "dump.log", "old.img"}
		if committed {
			want = []string{"descriptors.json", "dump.log"}
		}
		noLeftovers(t, path, want...)
	}
}

// TestAdoptDiscardUntouched gives up before anything is written: the earlier dump is as
// it was.
func TestAdoptDiscardUntouched(t *testing.T) {
	path, dir := clientDir(t)
	s, err := Adopt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteFile("new.img", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if _, err := Open(path); err != nil {
		t.Errorf("the earlier dump: %v", err)
	}
}

// TestAdoptDiscardAfterInterrupted gives up where an interrupted dump has left a mixture,
// which stays marked as one.
func TestAdoptDiscardAfterInterrupted(t *testing.T) {
	path, dir := clientDir(t)
	if err := os.WriteFile(filepath.Join(path, unfinished), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Adopt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(path, unfinished)); err != nil {
		t.Errorf("the mark: %v", err)
	}
}

func TestAdoptFollowsNoLink(t *testing.T) {
	path, dir := clientDir(t)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, filepath.Join(path, "clocks.img")); err != nil {
		t.Fatal(err)
	}
	s, err := Adopt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteFile("clocks.img", []byte("x")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("writing through a link: %v, want ELOOP", err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
}
