// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// overlaid makes a directory that shows the images with the files of top over them, and
// without those of hidden. It is an overlay that is mounted nowhere: links would not do
// for a tree with mounts of its own, since CRIU opens images while it is in them.
//
// To overlay a file system that is in no mount tree takes Linux 6.15, so it is made in a
// mount namespace of its own, of a thread that ends with it.
func overlaid(images string, hidden []string, top map[string][]byte) (*os.File, error) {
	type result struct {
		dir *os.File
		err error
	}
	made := make(chan result)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its mounts with it.
		runtime.LockOSThread()
		dir, err := overlayHere(images, hidden, top)
		made <- result{dir, err}
	}()
	r := <-made
	if r.err != nil {
		return nil, fmt.Errorf("lay a restore view over the images: %w", r.err)
	}
	return r.dir, nil
}

// overlayHere makes it in the calling thread, which is of no use for anything else then.
func overlayHere(images string, hidden []string, top map[string][]byte) (*os.File, error) {
	if unix.Gettid() == os.Getpid() {
		// Go would park it, with its mounts, for ever.
		return nil, errors.New("on the process's first thread")
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	below, err := os.OpenFile(images, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer below.Close()
	// CRIU opens images as users of the tree, too: whoever may look into the directory
	// may look into this one.
	var st unix.Stat_t
	if err := unix.Fstat(int(below.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	options := fmt.Sprintf("mode=%o,uid=%d,gid=%d", st.Mode&0o777, st.Uid, st.Gid)
	// There is a directory here that surely is one.
	if err := unix.Mount("crtime", images, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	above, err := os.OpenFile(images, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	for _, name := range hidden {
		// A device of this number hides what is below.
		if err := unix.Mknodat(int(above.Fd()), name, unix.S_IFCHR, 0); err != nil {
			return nil, fmt.Errorf("hide %s: %w", name, err)
		}
	}
	for name, data := range top {
		if err := os.WriteFile(filepath.Join(images, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	return mountOverlay(above, below)
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

// ownMounts reports whether a tree in images has mounts of its own.
func ownMounts(images string) bool {
	found, _ := filepath.Glob(filepath.Join(images, "mountpoints-*.img"))
	return len(found) > 0
}

// overlaid makes a directory with what the view shows.
func (v *view) overlaid(images string) (*os.File, error) {
	top := map[string][]byte{}
	entries, err := os.ReadDir(v.path("."))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if top[e.Name()], err = os.ReadFile(v.path(e.Name())); err != nil {
			return nil, err
		}
	}
	hidden, err := filepath.Glob(filepath.Join(images, "timens-*.img"))
	if err != nil {
		return nil, err
	}
	for i, path := range hidden {
		hidden[i] = filepath.Base(path)
	}
	return overlaid(images, hidden, top)
}
