// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Pack archives the given files and folders below dir.
func Pack(dir string, names ...string) (Files, error) {
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return packOne(w, dir, path)
		})
		if err != nil {
			return Files{}, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return Files{}, fmt.Errorf("packing: %w", err)
	}
	return Files{Dir: dir, Tar: data.Bytes()}, nil
}

func packOne(w *tar.Writer, dir, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	if header.Name, err = filepath.Rel(dir, path); err != nil {
		return err
	}
	header.Format = tar.FormatPAX // Times to the nanosecond.
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// Unpack writes the files of an archive below its folder, over what is there.
func Unpack(f Files) error {
	r := tar.NewReader(bytes.NewReader(f.Tar))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
		if err := unpackOne(r, header, filepath.Join(f.Dir, header.Name)); err != nil {
			return fmt.Errorf("unpacking %s: %w", header.Name, err)
		}
	}
}

func unpackOne(r io.Reader, header *tar.Header, path string) error {
	mode := header.FileInfo().Mode()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case mode.IsDir():
		if err := os.MkdirAll(path, mode.Perm()); err != nil {
			return err
		}
	case mode&fs.ModeSymlink != 0:
		return os.Symlink(header.Linkname, path)
	default:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, mode.Perm()); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode.Perm())
}
