// SPDX-License-Identifier: Apache-2.0

// Package view shows CRIU an image directory at restore that differs from the one
// on disk in what CRIU would get wrong: the clocks.
//
// A view is a tmpfs that is mounted nowhere and is reached by its descriptor alone,
// full of symbolic links to the images. So the user's directory is never changed, and
// nothing is left behind however this process ends. CRIU's log and statistics go there
// too, unless they are wanted elsewhere.
//
// A tree with mounts of its own may not find the images where the links lead: for such a
// one there is an overlay of the image directory, which is mounted nowhere, either.
package view

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// View is an image directory as CRIU is to see it. It is not safe for concurrent use.
type View struct {
	dir    *os.File
	images string
	record *os.File   // CRIU's record of the clocks, WithClocks.
	more   []*os.File // What is to be closed besides.
}

// WithoutClocks makes the view in which CRIU's own record of the clocks does not
// appear, for a CRIU that lives in the tree's new time namespace already: it would
// make a second one by that record.
//
// images is an absolute path. The caller must call Close.
func WithoutClocks(images string) (*View, error) {
	return newView(images, func(v *View) error {
		hostNS, err := inventoryTimeNS(filepath.Join(images, "inventory.img"))
		if err != nil {
			return err
		}
		return v.each(func(name string) error { return v.moved(name, hostNS) })
	})
}

// WithClocks makes the view in which CRIU's record of the clocks is empty until
// OfferClocks has it written. Everything else is as in images, which is an absolute path.
// The caller must call Close.
func WithClocks(images string) (*View, error) {
	found, err := records(images)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s: %w: there are %d", images, ErrRecord, len(found))
	}
	name := found[0]
	if OwnMounts(images) {
		dir, record, err := over(images, layer{files: map[string][]byte{name: nil}, open: name})
		if err != nil {
			return nil, err
		}
		return &View{dir: dir, images: images, record: record, more: []*os.File{record}}, nil
	}
	return newView(images, func(v *View) (err error) {
		if v.record, err = os.OpenFile(v.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		v.more = append(v.more, v.record)
		return v.each(v.link)
	})
}

// records names CRIU's records of the clocks in images.
func records(images string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(images, "timens-*.img"))
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return found, err
}

// newView makes a view and has it filled.
func newView(images string, fill func(*View) error) (*View, error) {
	dir, err := detachedTmpfs()
	if err != nil {
		return nil, fmt.Errorf("make the restore view of %s: %w", images, err)
	}
	v := &View{dir: dir, images: images}
	if err := fill(v); err != nil {
		v.Close()
		return nil, fmt.Errorf("make the restore view of %s: %w", images, err)
	}
	return v, nil
}

// each calls take for every name of the image directory but those of CRIU's record of
// the clocks.
func (v *View) each(take func(name string) error) error {
	entries, err := os.ReadDir(v.images)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isImage(e.Name(), "timens-") {
			continue
		}
		if err := take(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Close gives it all back to the kernel. A CRIU that still looks at it keeps it.
func (v *View) Close() error {
	err := v.dir.Close()
	for _, f := range v.more {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Dir is the open directory. It stays the View's.
func (v *View) Dir() *os.File { return v.dir }

// Path is a path by which this process reaches a file of the view.
func (v *View) Path(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", v.dir.Fd(), name)
}

// Replace has another image stand where a link or another image stood.
func (v *View) Replace(name string, data []byte) error {
	if err := unix.Unlinkat(int(v.dir.Fd()), name, 0); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return os.WriteFile(v.Path(name), data, 0o600)
}

// detachedTmpfs makes a tmpfs that is in no mount tree; see fsmount(2).
func detachedTmpfs() (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "mode", "0700"); err != nil {
		return nil, fmt.Errorf("fsconfig tmpfs: %w", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig tmpfs: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("fsmount tmpfs: %w", err)
	}
	defer unix.Close(mnt)
	// The mount's own descriptor is an O_PATH one, which CRIU could not list.
	fd, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open tmpfs: %w", err)
	}
	return os.NewFile(uintptr(fd), "restore-view"), nil
}

// isImage reports whether a file is one of CRIU's images of some kind, "" of any.
func isImage(name, kind string) bool {
	return strings.HasPrefix(name, kind) && strings.HasSuffix(name, ".img")
}

// moved links one file, but has a process live in the time namespace ns.
func (v *View) moved(name string, ns uint32) error {
	if !isImage(name, "ids-") {
		return v.link(name)
	}
	rewritten, err := withTimeNS(filepath.Join(v.images, name), ns)
	if err != nil {
		return err
	}
	if rewritten == nil {
		return v.link(name)
	}
	return os.WriteFile(v.Path(name), rewritten, 0o600)
}

// link links one file, if it is something that CRIU reads.
func (v *View) link(name string) error {
	target := filepath.Join(v.images, name)
	switch {
	case name == "parent":
		// CRIU's link to the previous dump is relative to the images.
		var err error
		if target, err = filepath.EvalSymlinks(target); err != nil {
			return err
		}
	case !isImage(name, ""):
		return nil
	}
	if err := unix.Symlinkat(target, int(v.dir.Fd()), name); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}
