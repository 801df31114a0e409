// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lab is a place to run programs in. Its fields do not change after Open, and
// it can be used by several goroutines.
type Lab struct {
	// Dir is a tmpfs of the lab's own.
	Dir string
	// Crtime is the built command.
	Crtime Crtime
	// CRIU is the CRIU that it uses.
	CRIU CRIU

	root             string // Of the module.
	ticker, goTicker string
}

// Open builds what the lab needs. The caller must have called Enter, and must
// call Close.
func Open(ctx context.Context) (l *Lab, err error) {
	if !Inside() {
		return nil, errors.New("a lab needs the mount namespace that harness.Enter makes")
	}
	l = &Lab{}
	if l.root, err = findRoot(); err != nil {
		return nil, err
	}
	if l.CRIU.Path, err = findCRIU(); err != nil {
		return nil, fmt.Errorf("no CRIU; 'make criu' gets one: %w", err)
	}
	l.Crtime.CRIU = l.CRIU
	if l.Dir, err = os.MkdirTemp("", "crtime-e2e-*"); err != nil {
		return nil, fmt.Errorf("folder of the lab: %w", err)
	}
	if err := MountTmpfs(l.Dir, ""); err != nil {
		return nil, errors.Join(err, os.Remove(l.Dir))
	}
	tmp := filepath.Join(l.Dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o1777), os.Setenv("TMPDIR", tmp)); err != nil {
		return nil, errors.Join(fmt.Errorf("temporary folder of the lab: %w", err), l.Close())
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends what still runs below this process and removes the lab's files.
func (l *Lab) Close() error {
	killDescendants()
	return errors.Join(Unmount(l.Dir), os.Remove(l.Dir))
}

// MountTmpfs mounts a new tmpfs. Options are as for mount(8), for instance
// "size=1m".
func MountTmpfs(dir, options string) error {
	if options != "" {
		options += ","
	}
	if err := unix.Mount("crtime-e2e", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options+"mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// Unmount takes a mount away at once, also if files of it are open.
func Unmount(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting %s: %w", dir, err)
	}
	return nil
}
