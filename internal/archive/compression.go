// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Compression is how an archive is compressed, by podman's name.
type Compression string

// The ways to compress of podman container checkpoint --compress.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// compressions are the first bytes of what is compressed.
func compressions() []struct {
	magic string
	how   Compression
} {
	return []struct {
		magic string
		how   Compression
	}{
		{"\x1f\x8b", Gzip},
		{"\x28\xb5\x2f\xfd", Zstd},
		// No engine writes these, but people do.
		{"BZh", "bzip2"},
		{"\xfd7zXZ\x00", "xz"},
	}
}

// bufferSize is how much is read and checked at a time, in bytes.
const bufferSize = 64 << 10

// decompress finds out how an archive is compressed and returns what it was before.
// close ends what was begun for it.
func decompress(r io.Reader) (how Compression, plain io.Reader, end func(), err error) {
	buffered := bufio.NewReaderSize(r, bufferSize)
	how, err = detect(buffered)
	if err != nil {
		return "", nil, nil, err
	}
	none := func() {}
	switch how {
	case None:
		return how, buffered, none, nil
	case Gzip:
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return "", nil, nil, reason(err)
		}
		return how, z, none, nil
	case Zstd:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return "", nil, nil, reason(err)
		}
		return how, z, z.Close, nil
	}
	return "", nil, nil, fmt.Errorf("%w: it is compressed with %s: unpack it with that, and show the tar file", ErrFormat, how)
}

// detect looks at the first bytes.
func detect(r *bufio.Reader) (Compression, error) {
	for _, c := range compressions() {
		head, err := r.Peek(len(c.magic))
		if err != nil && !errors.Is(err, io.EOF) {
			return "", reason(err)
		}
		if len(head) == 0 {
			return "", fmt.Errorf("%w: it is empty", ErrTruncated)
		}
		if bytes.Equal(head, []byte(c.magic)) {
			return c.how, nil
		}
	}
	return None, nil
}
