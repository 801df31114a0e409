// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUntrusted says that somebody else could have written images, or could write
// them still.
var ErrUntrusted = errors.New("others could have written these images")

// CheckOwner reports whether nobody but root and the caller's user could have
// written the images in dir, or can change them before they are read. Whoever
// restores images runs what they say, with the privileges that they say.
//
// The directory, all that is in it, and the directories that a link there leads
// to (CRIU names that of an earlier dump so) must belong to root or to the caller
// and must not be writable by group or others. On the way there, step by step
// through every symbolic link, no directory may let others put another one in its
// place: it and the links in it belong to root or to the caller, and it is
// writable by its owner alone or has the sticky bit.
//
// The error is ErrUntrusted and names the file, unless it could not be found
// out. It is for the caller to let users overrule it.
func CheckOwner(dir string) error {
	o := owners{self: uint32(os.Geteuid()), seen: make(map[string]bool)}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("image directory %s: %w", dir, err)
	}
	path, err := o.walk(abs)
	if err != nil {
		return fmt.Errorf("image directory: %w", err)
	}
	return o.images(path)
}

// owners is one run of CheckOwner.
type owners struct {
	self uint32
	seen map[string]bool // Image directories by their real names.
}

// images checks one directory, given by its real name, and what it leads to.
func (o *owners) images(path string) error {
	if o.seen[path] {
		return nil
	}
	o.seen[path] = true
	if err := o.one(path); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("image directory: %w", err)
	}
	for _, e := range entries {
		if err := o.entry(filepath.Join(path, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return nil
}

// entry checks what stands in an image directory.
func (o *owners) entry(path string, kind fs.FileMode) error {
	if kind&fs.ModeSymlink == 0 {
		return o.one(path)
	}
	target, err := o.walk(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // It leads nowhere: nothing can be read there.
	}
	if err != nil {
		return err
	}
	st, err := lstat(target)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return o.images(target)
	}
	return o.one(target)
}

// mostLinks is how many symbolic links the kernel follows in one path (MAXSYMLINKS
// of linux/namei.h).
const mostLinks = 40

// walk follows an absolute path as the kernel does, and checks each directory that
// it looks something up in, and each link that it follows. It returns the real
// name of what the path leads to, which itself is not checked.
func (o *owners) walk(path string) (string, error) {
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		open, err := o.way(at)
		if err != nil {
			return "", err
		}
		next := filepath.Join(at, name)
		st, err := lstat(next)
		if errors.Is(err, fs.ErrNotExist) && open {
			return "", fmt.Errorf("%s: %w: it does not exist, and others can make it; remove the link that leads there", next, ErrUntrusted)
		}
		if err != nil {
			return "", err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at = next
			continue
		}
		if err := o.one(next); err != nil {
			return "", err
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", fmt.Errorf("image: %w", err)
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("image: %w", &os.PathError{Op: "follow", Path: path, Err: unix.ELOOP})
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// way checks a directory on the way: others can put nothing in the place of what
// it holds. open says that they can add to it all the same.
func (o *owners) way(at string) (open bool, err error) {
	st, err := lstat(at)
	if err != nil {
		return false, err
	}
	if !o.trusted(st.Uid) {
		return false, fmt.Errorf("%s: %w: user %d, who owns the directory above them, can put others in their place", at, ErrUntrusted, st.Uid)
	}
	open = st.Mode&othersWrite != 0
	if open && st.Mode&unix.S_ISVTX == 0 {
		return false, fmt.Errorf("%s: %w: the mode of the directory above them, %04o, lets others put other images in their place; give it the sticky bit",
			at, ErrUntrusted, st.Mode&permissions)
	}
	return open, nil
}

// one checks a file or directory; of a link only the owner, since every link may
// be written by nobody but its directory's users.
func (o *owners) one(path string) error {
	st, err := lstat(path)
	if err != nil {
		return err
	}
	if !o.trusted(st.Uid) {
		return fmt.Errorf("%s: %w: it belongs to user %d; chown it if you know what it holds", path, ErrUntrusted, st.Uid)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&othersWrite != 0 {
		return fmt.Errorf("%s: %w: its mode is %04o; take the right to write from others (chmod go-w) if you know what it holds",
			path, ErrUntrusted, st.Mode&permissions)
	}
	return nil
}

const (
	othersWrite = 0o022
	permissions = 0o7777 // Of a mode, without the type.
)

// trusted reports whether a user is root or the caller.
func (o *owners) trusted(uid uint32) bool { return uid == 0 || uid == o.self }

// lstat looks at a file, not through a link.
func lstat(path string) (st unix.Stat_t, err error) {
	if err := unix.Lstat(path, &st); err != nil {
		return st, fmt.Errorf("image: %w", &os.PathError{Op: "lstat", Path: path, Err: err})
	}
	return st, nil
}
