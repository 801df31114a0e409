// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// pidFile is a file that will hold a process number. It is made before there is
// a process, so that a place that cannot be written is an error in time, and
// appears under its name when it is complete. Nil is a file that nobody wants.
type pidFile struct {
	path string
	temp *os.File
}

// preparePIDFile makes the file beside its final name; "" makes none.
func preparePIDFile(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("pid file %s: %w", path, err)
	}
	return &pidFile{path: path, temp: temp}, nil
}

// commit writes the number and gives the file its name, replacing one that was
// there.
func (p *pidFile) commit(pid int) error {
	if p == nil {
		return nil
	}
	_, err := fmt.Fprintf(p.temp, "%d\n", pid)
	err = errors.Join(err, p.temp.Chmod(0o644), p.temp.Close())
	if err == nil {
		err = os.Rename(p.temp.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("pid file %s: %w", p.path, errors.Join(err, os.Remove(p.temp.Name())))
	}
	p.temp = nil
	return nil
}

// discard removes what was not committed.
func (p *pidFile) discard() {
	if p == nil || p.temp == nil {
		return
	}
	p.temp.Close()
	// It is a temporary file of no meaning.
	_ = os.Remove(p.temp.Name())
}
