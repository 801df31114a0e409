// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// unfinished stands in an adopted directory until the dump there is complete: what is
// left of an interrupted one is not to be taken for a dump of CRIU's (OpenForeign).
const unfinished = ownPrefix + "unfinished"

// Adopt takes over a directory that somebody else has made and opened, as clients
// of CRIU do, to write images into it where it is. What is in it already stays:
// container runtimes keep files of their own there. Images of an earlier dump are
// written over, as CRIU does, or removed when this one is complete; the manifest of that
// one goes at once, so that nobody takes a mixture for complete. Discard brings it back if
// none of its images has been touched.
//
// dir stays the caller's.
func Adopt(dir *os.File) (*Staging, error) {
	// By its descriptor: the caller's path may lead elsewhere in this process's
	// mount namespace.
	own, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("image directory %s: %w", dir.Name(), err)
	}
	path := "/proc/self/fd/" + strconv.Itoa(own)
	s := &Staging{final: path, path: path, existed: true, dir: os.NewFile(uintptr(own), path), before: map[string]unix.Timespec{}}
	_, marked := lstat(filepath.Join(path, unfinished))
	s.mixed = marked == nil
	err = writeFile(own, unfinished, nil)
	if err == nil {
		err = s.lookBefore()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image directory %s: %w", dir.Name(), err), removeIfThere(filepath.Join(path, unfinished)), s.dir.Close())
	}
	return s, nil
}

// lookBefore notes what an adopted directory holds, and takes an earlier manifest away.
func (s *Staging) lookBefore() error {
	manifest := filepath.Join(s.path, FileManifest)
	text, err := os.ReadFile(manifest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.earlier = text
	if err := removeIfThere(manifest); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := lstat(filepath.Join(s.path, e.Name()))
		if err != nil {
			return err
		}
		s.before[e.Name()] = st.Ctim
	}
	return nil
}

// dropEarlier removes what an earlier dump has left and this one has not written over: a
// restore would read it with the rest.
func (s *Staging) dropEarlier() error {
	var errs []error
	for name := range s.before {
		if Listed(name) && s.untouched(name) {
			errs = append(errs, removeIfThere(filepath.Join(s.path, name)))
		}
	}
	return errors.Join(errs...)
}

// adopted reports whether the directory is somebody else's.
func (s *Staging) adopted() bool { return s.before != nil }

// disown removes what has been added to an adopted directory: the images and what
// belongs to them, but not an engine's log, which tells why there are none. An earlier
// dump there is as it was if nothing of it was touched; else what is left of it stays
// marked as unfinished.
func (s *Staging) disown() error {
	entries, err := os.ReadDir(s.path)
	errs := []error{removeIfThere(filepath.Join(s.path, FileManifest)), err}
	for _, e := range entries {
		if Listed(e.Name()) && !s.untouched(e.Name()) {
			errs = append(errs, removeIfThere(filepath.Join(s.path, e.Name())))
		}
	}
	whole := !s.mixed
	for name := range s.before {
		whole = whole && (!Listed(name) || s.untouched(name))
	}
	if whole {
		if s.earlier != nil {
			errs = append(errs, writeFile(int(s.dir.Fd()), FileManifest, s.earlier))
		}
		// Last: until then what is left is not whole.
		errs = append(errs, removeIfThere(filepath.Join(s.path, unfinished)))
	}
	return errors.Join(append(errs, s.dir.Close())...)
}

// untouched reports whether a file that was there before is as it was.
func (s *Staging) untouched(name string) bool {
	changed, before := s.before[name]
	st, err := lstat(filepath.Join(s.path, name))
	return before && err == nil && st.Ctim == changed
}

// removeIfThere is os.Remove of a file that may be gone.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
