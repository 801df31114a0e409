// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// mostBytes bounds a file of settings, and a config file of CRIU's, far above any real
// one.
const mostBytes = 1 << 20

// othersWrite are the bits of a mode that let group and others write.
const othersWrite fs.FileMode = 0o022

// errNoFile says that a path leads to something else, such as a directory.
var errNoFile = errors.New("not a file")

// readTrusted returns what is in a file that belongs to root or to the caller's
// effective user and is writable by its owner alone. It looks at the file that it has
// opened, so that nobody can put another in its place in between.
//
// The error is ErrUntrusted, fs.ErrNotExist, or another that names the file.
func readTrusted(path string) ([]byte, error) {
	// A FIFO in the file's place must not make us wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if err := trusted(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if len(data) > mostBytes {
		return nil, fmt.Errorf("%s: more than %d bytes of settings", path, mostBytes)
	}
	return data, nil
}

// trusted says why the settings in a file are not to be followed; self is the
// caller's user.
func trusted(path string, info fs.FileInfo, self int) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("settings: %w", &fs.PathError{Op: "read", Path: path, Err: errNoFile})
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: %w: its owner is unknown", path, ErrUntrusted)
	}
	if st.Uid != 0 && int(st.Uid) != self {
		return fmt.Errorf("%s: %w: it belongs to user %d; chown it if you know what it says", path, ErrUntrusted, st.Uid)
	}
	if info.Mode()&othersWrite != 0 {
		return fmt.Errorf("%s: %w: its mode is %04o; take the right to write from others (chmod go-w) if you know what it says",
			path, ErrUntrusted, info.Mode().Perm())
	}
	return nil
}
