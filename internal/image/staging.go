// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

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
	existed bool                     // final was there before, empty.
	inside  bool                     // path lies in final, which cannot be replaced.
	moved   bool                     // Commit has put something into final, or final there.
	vouched map[string]vouched       // By name.
	before  map[string]unix.Timespec // What an adopted directory held, and when it was last changed; nil for all others.
	earlier []byte                   // The manifest that it held; nil: none.
	mixed   bool                     // It held what an interrupted dump had left.
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
	s := &Staging{final: final, existed: exists}
	sweep(final)
	if !exists || replaceable(final) {
		err = s.begin(filepath.Dir(final))
	}
	if s.dir == nil && exists {
		s.inside = true
		err = s.begin(final)
	}
	if err != nil {
		return nil, fmt.Errorf("make the image directory %s: %w", final, err)
	}
	return s, nil
}

// begin makes the directory to write into, at a place. Its lock tells a later dump
// that it is in use. Between the two another dump may take it for one that was
// left, and remove it; then there has to be another.
func (s *Staging) begin(place string) error {
	const attempts = 1000
	for range attempts {
		path, err := os.MkdirTemp(place, stagingPattern(s.final))
		if err != nil {
			return err
		}
		dir, err := lockDirectory(path)
		if err == nil {
			s.path, s.dir = path, dir
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, os.Remove(path))
		}
	}
	return errors.New("other dumps have removed it again and again")
}

// lockDirectory opens a directory and locks it for as long as it is open. The error
// is EWOULDBLOCK if somebody else has done so, and ENOENT if the path leads to
// another directory by then, or nowhere.
func lockDirectory(path string) (*os.File, error) {
	// What others put there under this name may be a link, or a FIFO.
	dir, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		var locked, named unix.Stat_t
		err = errors.Join(unix.Fstat(int(dir.Fd()), &locked), unix.Lstat(path, &named))
		if err == nil && (locked.Dev != named.Dev || locked.Ino != named.Ino) {
			err = unix.ENOENT
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), dir.Close())
	}
	return dir, nil
}

// stagingMark is between a directory's name and what makes that of its staging
// directory unique.
const stagingMark = ".partial-"

// stagingPattern is the name of final's staging directories, as MkdirTemp takes it.
func stagingPattern(final string) string {
	return "." + filepath.Base(final) + stagingMark + "*"
}

// isStaging reports whether a name is that of one of final's staging directories.
func isStaging(final, name string) bool {
	begin, _ := strings.CutSuffix(stagingPattern(final), "*")
	return strings.HasPrefix(name, begin)
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
		if !isStaging(dir, e.Name()) {
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

// sweep removes staging directories that a killed dump left: those of this user
// that nobody holds locked.
func sweep(final string) {
	for _, place := range []string{filepath.Dir(final), final} {
		entries, _ := os.ReadDir(place)
		for _, e := range entries {
			if !isStaging(final, e.Name()) {
				continue
			}
			path := filepath.Join(place, e.Name())
			dir, err := lockDirectory(path)
			if err != nil {
				continue
			}
			if info, err := dir.Stat(); err == nil && ownedBySelf(info) {
				_ = os.RemoveAll(path) // Nothing depends on this having worked.
			}
			dir.Close()
		}
	}
}

// ownedBySelf reports whether a file belongs to the caller's user.
func ownedBySelf(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// Dir is the open directory to write images into. It stays the Staging's.
func (s *Staging) Dir() *os.File { return s.dir }

// Path is where the images are before Commit.
func (s *Staging) Path() string { return s.path }

// Inside reports whether the images are written one level below their final
// place, so that a path relative to them needs one step more.
func (s *Staging) Inside() bool { return s.inside }

// WriteFile writes one file, 0600, into the directory, and vouches for it.
func (s *Staging) WriteFile(name string, data []byte) error {
	if err := writeFile(int(s.dir.Fd()), name, data); err != nil {
		return fmt.Errorf("write image %s: %w", filepath.Join(s.path, name), err)
	}
	if !Listed(name) {
		return nil
	}
	blocks := make([]uint32, 0, blockCount(int64(len(data))))
	for block := range slices.Chunk(data, BlockSize) {
		blocks = append(blocks, crc32.Checksum(block, castagnoli()))
	}
	s.Vouch(name, int64(len(data)), blocks)
	return nil
}

// writeFile is os.WriteFile for a new file in a directory that is open. It makes
// five system calls less: there are several images for each process and thread.
func writeFile(dir int, name string, data []byte) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return errors.Join(err, unix.Close(fd))
		}
		data = data[max(n, 0):]
	}
	return unix.Close(fd)
}

// Vouch says that a file of the directory has been written completely, with so
// many bytes and with these CRC-32Cs of its blocks of BlockSize each, in their
// order. Commit then takes this instead of reading the file, whose size it still
// compares. The blocks are not to be changed afterwards.
func (s *Staging) Vouch(name string, size int64, blocks []uint32) {
	if s.vouched == nil {
		s.vouched = make(map[string]vouched)
	}
	s.vouched[name] = vouched{size: size, blocks: blocks}
}

// Commit writes the manifest, brings everything to disk and gives the directory
// its final name. It returns the manifest. After an error the directory is
// still to be discarded.
func (s *Staging) Commit() (Manifest, error) {
	if err := s.dropEarlier(); err != nil {
		return nil, fmt.Errorf("remove an earlier dump: %w", err)
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && Listed(e.Name()) {
			names = append(names, e.Name())
		}
	}
	if err := s.makePrivate(); err != nil {
		return nil, err
	}
	for name := range s.vouched {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s: %w: it is not there", filepath.Join(s.path, name), errVouched)
		}
	}
	m, err := checksums(s.path, names, s.vouched)
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
	return m, nil
}

// sync brings the files to disk, all at once so that the file system can put
// them into one journal commit.
func (s *Staging) sync(names []string) error {
	if inMemory(s.dir) {
		return nil
	}
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

// inMemory reports whether a directory lies in a file system that has no disk.
func inMemory(dir *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(dir.Fd()), &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// publish gives the directory its final name.
func (s *Staging) publish() error {
	if s.adopted() {
		return removeIfThere(filepath.Join(s.path, unfinished)) // It has its name.
	}
	if s.inside {
		return s.moveUp()
	}
	if err := unix.Rename(s.path, s.final); err != nil {
		return fmt.Errorf("rename %s to %s: %w", s.path, s.final, err)
	}
	s.path, s.moved = s.final, true
	return syncDir(filepath.Dir(s.final))
}

// moveUp moves the files from a staging directory inside the final one, the
// manifest last: without it nobody takes the directory for complete.
func (s *Staging) moveUp() error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	s.moved = true
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
	if err := os.Remove(s.path); err != nil {
		return err
	}
	s.path = s.final
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
	if s.adopted() {
		// The client decides by its directory who gets to them; of a tree in a user
		// namespace CRIU opens them as that one's users.
		return nil
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return fmt.Errorf("make the images private: %w", err)
	}
	for _, e := range entries {
		if _, ours := s.vouched[e.Name()]; ours || !e.Type().IsRegular() {
			continue // What crtime writes is private from the beginning.
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
// for a dump that failed in Commit or after it. What was an empty directory before
// is one again.
func (s *Staging) Discard() error {
	if s.adopted() {
		return s.disown()
	}
	err := s.dir.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if s.moved && s.existed {
		err = errors.Join(err, s.emptyFinal())
	}
	if s.path != s.final || !s.existed {
		err = errors.Join(err, os.RemoveAll(s.path))
	}
	if err != nil {
		return fmt.Errorf("remove the unfinished images: %w", err)
	}
	return nil
}

// emptyFinal removes all that the final directory holds, but for what other dumps
// that are to go there have begun. The manifest goes first: without it nobody
// takes the rest for images.
func (s *Staging) emptyFinal() error {
	err := os.RemoveAll(filepath.Join(s.final, FileManifest))
	entries, listed := os.ReadDir(s.final)
	err = errors.Join(err, listed)
	for _, e := range entries {
		if !isStaging(s.final, e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.final, e.Name())))
		}
	}
	return err
}
