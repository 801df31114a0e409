// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// layer is what lies over the images.
type layer struct {
	hidden []string          // Images that are not to be seen.
	files  map[string][]byte // Images that are to be seen instead, or besides.
	open   string            // One of files that is to be opened for writing; "": none.
}

// over makes a directory that shows the images with a layer over them, and opens the file
// that the layer says. It is an overlay that is mounted nowhere: links would not do for a
// tree with mounts of its own, since CRIU opens images while it is in them.
//
// To overlay a file system that is in no mount tree takes Linux 6.15, so it is made in a
// mount namespace of its own, of a thread that ends with it.
func over(images string, l layer) (dir, opened *os.File, err error) {
	onOwnThread(func() { dir, opened, err = overHere(images, l) })
	if err != nil {
		return nil, nil, fmt.Errorf("lay a restore view over the images: %w", err)
	}
	return dir, opened, nil
}

// onOwnThread calls f on a thread that ends with it, and returns when f has.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// Go does not end the process's first thread, but parks it, with its mounts,
			// for ever. As long as it is locked, another goroutine has another thread.
			onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		// Never unlocked: the thread ends with the goroutine, and its mounts with it.
		f()
	}()
	<-done
}

// overHere makes it in the calling thread, which is of no use for anything else then.
func overHere(images string, l layer) (dir, opened *os.File, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, nil, os.NewSyscallError("mount", err)
	}
	below, err := os.OpenFile(images, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer below.Close()
	// CRIU opens images as users of the tree, too: whoever may look into the directory
	// may look into this one.
	var st unix.Stat_t
	if err := unix.Fstat(int(below.Fd()), &st); err != nil {
		return nil, nil, os.NewSyscallError("fstat", err)
	}
	options := fmt.Sprintf("mode=%o,uid=%d,gid=%d", st.Mode&0o777, st.Uid, st.Gid)
	// There is a directory here that surely is one.
	if err := unix.Mount("crtime", images, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, nil, os.NewSyscallError("mount", err)
	}
	above, err := os.OpenFile(images, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer above.Close()
	if opened, err = l.write(images, above, below); err != nil {
		return nil, nil, err
	}
	if dir, err = mountOverlay(above, below); err != nil && opened != nil {
		opened.Close()
	}
	return dir, opened, err
}

// write fills the directory above, which is at path and hides the one below. CRIU opens
// images as users of the tree, too: whoever may read what a file covers may read the file.
func (l layer) write(path string, above, below *os.File) (opened *os.File, err error) {
	for _, name := range l.hidden {
		// A device of this number hides what is below.
		if err := unix.Mknodat(int(above.Fd()), name, unix.S_IFCHR, 0); err != nil {
			return nil, fmt.Errorf("hide %s: %w", name, err)
		}
	}
	for name, data := range l.files {
		if err := os.WriteFile(filepath.Join(path, name), data, 0o600); err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(below.Fd()), name, &st, 0); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		owned := os.Chown(filepath.Join(path, name), int(st.Uid), int(st.Gid))
		if err := errors.Join(owned, os.Chmod(filepath.Join(path, name), os.FileMode(st.Mode&0o777))); err != nil {
			return nil, err
		}
	}
	if l.open == "" {
		return nil, nil
	}
	return os.OpenFile(filepath.Join(path, l.open), os.O_RDWR, 0)
}

// mountOverlay makes the overlay of two directories.
func mountOverlay(above, below *os.File) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fs)
	lower := fmt.Sprintf("/proc/self/fd/%d:/proc/self/fd/%d", above.Fd(), below.Fd())
	if err := unix.FsconfigSetString(fs, "lowerdir", lower); err != nil {
		return nil, fmt.Errorf("fsconfig overlay: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig overlay: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("fsmount overlay: %w", err)
	}
	defer unix.Close(mnt)
	fd, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the overlay: %w", err)
	}
	return os.NewFile(uintptr(fd), "restore-view"), nil
}

// OwnMounts reports whether a tree in images has mounts of its own.
func OwnMounts(images string) bool {
	found, _ := filepath.Glob(filepath.Join(images, "mountpoints-*.img"))
	return len(found) > 0
}

// Overlay makes a directory with what a view WithoutClocks shows, for trees with mounts of
// their own. What is changed in the view later does not show there. It stays the View's.
func (v *View) Overlay() (*os.File, error) {
	l := layer{files: map[string][]byte{}}
	entries, err := os.ReadDir(v.Path("."))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if l.files[e.Name()], err = os.ReadFile(v.Path(e.Name())); err != nil {
			return nil, err
		}
	}
	if l.hidden, err = records(v.images); err != nil {
		return nil, err
	}
	dir, _, err := over(v.images, l)
	if err == nil {
		v.more = append(v.more, dir)
	}
	return dir, err
}
