// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// Fetch archives a file or folder.
func (*Service) Fetch(path string, f *wire.Files) error {
	var err error
	*f, err = wire.Pack(filepath.Dir(path), filepath.Base(path))
	return err
}

// Send writes files.
func (*Service) Send(f wire.Files, _ *wire.Nothing) error { return wire.Unpack(f) }

// Remove removes a file or folder, and is content if it is not there.
func (*Service) Remove(path string, _ *wire.Nothing) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing: %w", err)
	}
	return nil
}

// Text reads a file.
func (*Service) Text(path string, text *string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	*text = string(data)
	return nil
}
