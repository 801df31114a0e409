// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ErrNotEmpty says that a dump was to go into a directory that holds something.
var ErrNotEmpty = errors.New("directory is not empty")

// Staging is an image directory that is being written. It belongs to one
// goroutine, and must end in Commit or Discard.
type Staging struct {
	final   string // Absolute path of the directory to be.
	path    string // Where the files are until Commit.
	dir     *os.File
	inside  bool // path lies in final, which cannot be replaced.
	created bool // final was put there by Commit.
}

// Stage makes a directory to write images into, which Commit will turn into
// dir. dir must not exist, or be empty; its parent must exist.
//
// The work goes on beside dir, so that dir appears complete, in one rename.
// Where dir cannot be renamed over (it is a mount point, or this process's
// working directory, or its parent is read-only) the work goes on inside it and
// Commit moves the files, manifest last.
func Stage(dir string) (*Staging, error) {
	final, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image directory %s: %w", dir, err)
	}
	exists, err := emptyOrAbsent(final)
	if err != nil {
		return nil, err
	}
	s := &Staging{final: final}
	sweep(final)
	if !exists || replaceable(final) {
		s.path, err = os.MkdirTemp(filepath.Dir(final), stagingPattern(final))
	}
	if s.path == "" && exists {
		s.inside = true
		s.path, err = os.MkdirTemp(final, stagingPattern(final))
	}
	if err != nil {
		return nil, fmt.Errorf("make the image directory %s: %w", final, err)
	}
	if s.dir, err = os.Open(s.path); err == nil {
		// The lock tells a later dump that this directory is in use.
		err = unix.Flock(int(s.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		s.Discard()
		return nil, fmt.Errorf("open the image directory %s: %w", s.path, err)
	}
	return s, nil
}

// stagingPattern is the name of final's staging directories, as MkdirTemp and
// Glob both take it.
func stagingPattern(final string) string {
	return "." + filepath.Base(final) + ".partial-*"
}

// emptyOrAbsent reports whether the directory exists; it must then be empty.
func emptyOrAbsent(dir string) (exists bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(dir)); err != nil {
			return false, fmt.Errorf("image directory %s: its parent: %w", dir, err)
		}
		return false, nil
	case err != nil:
		return false, fmt.Errorf("image directory: %w", err)
	}
	for _, e := range entries {
		if ours, _ := filepath.Match(stagingPattern(dir), e.Name()); !ours {
			return true, fmt.Errorf("image directory %s: %w (it holds %q): name another, or remove what is in it", dir, ErrNotEmpty, e.Name())
		}
	}
	return true, nil
}

// replaceable reports whether another directory may be renamed over dir.
func replaceable(dir string) bool {
	var d, parent, here unix.Stat_t
	if unix.Stat(dir, &d) != nil || unix.Stat(filepath.Dir(dir), &parent) != nil || unix.Stat(".", &here) != nil {
		return false
	}
	if d.Dev == here.Dev && d.Ino == here.Ino {
		return false
	}
	return d.Dev == parent.Dev
}

// sweep removes staging directories that a killed dump left: those that nobody
// holds locked.
func sweep(final string) {
	for _, place := range []string{filepath.Dir(final), final} {
		stale, err := filepath.Glob(filepath.Join(place, stagingPattern(final)))
		if err != nil {
			continue
		}
		for _, dir := range stale {
			f, err := os.Open(dir)
			if err != nil {
				continue
			}
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				// Nothing depends on this having worked.
				_ = os.RemoveAll(dir)
			}
			f.Close()
		}
	}
}

// Dir is the open directory to write images into. It stays the Staging's.
func (s *Staging) Dir() *os.File { return s.dir }

// Path is where the images are before Commit.
func (s *Staging) Path() string { return s.path }

// Inside reports whether the images are written one level below their final
// place, so that a path relative to them needs one step more.
func (s *Staging) Inside() bool { return s.inside }

// WriteFile writes one file, 0600, into the directory.
func (s *Staging) WriteFile(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(s.path, name), data, 0o600); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

// Commit writes the manifest, brings everything to disk and gives the directory
// its final name. It returns the manifest. After an error the directory is
// still to be discarded.
func (s *Staging) Commit() (Manifest, error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && listed(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if err := s.makePrivate(); err != nil {
		return nil, err
	}
	m, err := Checksums(s.path, names)
	if err != nil {
		return nil, err
	}
	if err := s.WriteFile(FileManifest, m.Encode()); err != nil {
		return nil, err
	}
	if err := s.sync(append(names, FileManifest)); err != nil {
		return nil, err
	}
	if err := s.publish(); err != nil {
		return nil, fmt.Errorf("give the images their final name: %w", err)
	}
	s.created = true
	return m, nil
}

// sync brings the files to disk, all at once so that the file system can put
// them into one journal commit.
func (s *Staging) sync(names []string) error {
	var work errgroup.Group
	work.SetLimit(4 * runtime.GOMAXPROCS(0))
	for _, name := range names {
		work.Go(func() error {
			f, err := os.Open(filepath.Join(s.path, name))
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Sync()
		})
	}
	if err := work.Wait(); err != nil {
		return fmt.Errorf("bring the images to disk: %w", err)
	}
	if err := s.dir.Sync(); err != nil {
		return fmt.Errorf("bring the images to disk: %w", err)
	}
	return nil
}

// publish gives the directory its final name.
func (s *Staging) publish() error {
	if s.inside {
		return s.moveUp()
	}
	if err := unix.Rename(s.path, s.final); err != nil {
		return fmt.Errorf("rename %s to %s: %w", s.path, s.final, err)
	}
	s.path = s.final
	return syncDir(filepath.Dir(s.final))
}

// moveUp moves the files from a staging directory inside the final one, the
// manifest last: without it nobody takes the directory for complete.
func (s *Staging) moveUp() error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == FileManifest {
			continue
		}
		if err := os.Rename(filepath.Join(s.path, e.Name()), filepath.Join(s.final, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(s.path, FileManifest), filepath.Join(s.final, FileManifest)); err != nil {
		return err
	}
	empty := s.path
	s.path = s.final
	if err := os.Remove(empty); err != nil {
		return err
	}
	return syncDir(s.final)
}

// syncDir brings a directory's entries to disk.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// makePrivate takes the files from everybody else: an engine writes with the
// modes of its own umask.
func (s *Staging) makePrivate() error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return fmt.Errorf("make the images private: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := os.Chmod(filepath.Join(s.path, e.Name()), 0o600); err != nil {
			return fmt.Errorf("make the images private: %w", err)
		}
	}
	return nil
}

// Close ends a committed Staging, after the engine has ended: CRIU still writes
// its statistics after everything else.
func (s *Staging) Close() error { return errors.Join(s.makePrivate(), s.dir.Close()) }

// Discard removes everything that was written, a committed directory included:
// for a dump that failed after Commit. What was an empty directory before is
// one again.
func (s *Staging) Discard() error {
	if s.dir != nil {
		s.dir.Close()
	}
	if s.created && s.inside {
		return emptyDir(s.final)
	}
	if err := os.RemoveAll(s.path); err != nil {
		return fmt.Errorf("remove the unfinished images: %w", err)
	}
	return nil
}

// emptyDir removes all that a directory holds.
func emptyDir(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(path, e.Name())))
	}
	return errors.Join(errs...)
}
