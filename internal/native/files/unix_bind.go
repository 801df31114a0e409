// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"

	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"golang.org/x/sys/unix"
)

// bindAgain gives a socket its recorded address, if it has one.
func bindAgain(fd int, e *sk_unix.UnixSkEntry, live map[uint32]*unixSocket) error {
	name := e.GetName()
	if len(name) == 0 {
		return nil
	}
	if !hasFile(name) {
		if err := bindTo(fd, name); err != nil {
			return fmt.Errorf("bind to %s: %w", addressText(name), err)
		}
		return nil
	}
	carried := e.GetType() != unix.SOCK_DGRAM && e.GetState() == stateEstablished
	var err error
	if e.GetDeleted() || carried {
		err = bindApart(fd, e)
	} else {
		err = bindInPlace(fd, e, live)
	}
	if err != nil {
		return fmt.Errorf("bind to %s: %w", addressText(name), err)
	}
	return nil
}

// bindInPlace makes the socket's file. One that a dead socket left there is
// replaced; one of a living socket is not.
func bindInPlace(fd int, e *sk_unix.UnixSkEntry, live map[uint32]*unixSocket) error {
	return withOwnDirectory(func() error {
		if dir := e.GetNameDir(); dir != "" {
			if err := unix.Chdir(dir); err != nil {
				return fmt.Errorf("enter %s: %w", dir, err)
			}
		}
		file := addressText(e.GetName())
		if err := removeStale(file, live); err != nil {
			return err
		}
		perms := e.GetFilePerms()
		unix.Umask(int(^perms.GetMode() & 0o777))
		if err := bindTo(fd, e.GetName()); err != nil {
			return err
		}
		if perms == nil {
			return nil
		}
		if err := unix.Lchown(file, int(perms.GetUid()), int(perms.GetGid())); err != nil {
			return fmt.Errorf("give it to user %d: %w", perms.GetUid(), err)
		}
		return unix.Chmod(file, perms.GetMode()&0o7777)
	})
}

// removeStale removes the file of a socket that does not live any more.
func removeStale(file string, live map[uint32]*unixSocket) error {
	var st unix.Stat_t
	err := unix.Lstat(file, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at what is there: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("there is another file of that name: move it away")
	}
	for _, s := range live {
		if s.bound && s.fileIno == uint32(st.Ino) && s.fileDev == deviceNumber(st.Dev) {
			return fmt.Errorf("a living socket (inode %d) has that address: is the program running already? Stop it first", s.ino)
		}
	}
	return unix.Unlink(file)
}

// bindApart binds a socket to a path without touching what has that path now:
// below a directory of its own, which is removed at once. So it looks as if its
// file had been deleted.
func bindApart(fd int, e *sk_unix.UnixSkEntry) (err error) {
	top, err := os.MkdirTemp("", "crtime-socket-")
	if err != nil {
		return fmt.Errorf("make a directory for its file: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	file := addressText(e.GetName())
	work := path.Join("/", e.GetNameDir())
	if err := os.MkdirAll(path.Join(top, work), 0o700); err != nil {
		return err
	}
	place := file
	if !path.IsAbs(file) {
		place = path.Join(work, file)
	}
	if err := os.MkdirAll(path.Join(top, path.Dir(place)), 0o700); err != nil {
		return err
	}
	return withOwnDirectory(func() error {
		if err := unix.Chroot(top); err != nil {
			return fmt.Errorf("enter a directory for its file: %w", err)
		}
		if err := unix.Chdir(work); err != nil {
			return fmt.Errorf("enter a directory for its file: %w", err)
		}
		return bindTo(fd, e.GetName())
	})
}

// withOwnDirectory calls f on a thread that has a root, working directory and
// umask of its own, and that ends with it.
func withOwnDirectory(f func() error) error {
	failed := make(chan error)
	go func() {
		// Never unlocked: the thread is of no use to others.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			failed <- fmt.Errorf("get a working directory of its own: %w", err)
			return
		}
		failed <- f()
	}()
	return <-failed
}
