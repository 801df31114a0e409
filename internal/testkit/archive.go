// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Member is a file in an archive.
type Member struct {
	Name string
	Data []byte
	Type byte // As in package tar; 0: a regular file, or a folder by a slash at the end of its name.
	Date time.Time
}

// Podman is what podman exports of a container whose images are in dir, in its order.
func Podman(dir string) ([]Member, error) {
	members := []Member{
		{Name: "network.status", Data: []byte("null")},
		{Name: "config.dump", Data: []byte(`{
  "spec": {"ociVersion": "1.0.2-dev"},
  "id": "4efacac0c81fdfe1722486626073100b13ad012147dce84525de9aab7e03f579",
  "name": "web",
  "rootfsImageName": "localhost/web:latest",
  "createdTime": "2026-02-28T23:59:58.718778129Z",
  "runtime": "runc"
}`)},
		{Name: "spec.dump", Data: []byte(`{"annotations": {"io.container.manager": "libpod"}}`)},
		{Name: "ctr.log"},
		{Name: "checkpoint/"},
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		members = append(members, Member{Name: "checkpoint/" + e.Name(), Data: data, Date: info.ModTime()})
	}
	// It is a tar file itself, which ends in zeros.
	return append(members, Member{Name: "rootfs-diff.tar", Data: make([]byte, 3<<10)}), nil
}

// Tar is an archive of these members.
func Tar(members []Member) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Name: m.Name, Size: int64(len(m.Data)), Mode: 0o600, Typeflag: m.Type, ModTime: m.Date}
		if m.Type == tar.TypeSymlink || m.Type == tar.TypeLink {
			h.Linkname, h.Size = string(m.Data), 0
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write(m.Data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// Compress compresses as podman does, by its names: none, gzip or zstd.
func Compress(data []byte, how string) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "none":
		return data, nil
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			return nil, err
		}
		w = z
	default:
		return nil, errors.New("podman does not compress so")
	}
	_, err := w.Write(data)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}
