// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// block is the piece of a file that one core checksums at a time: large enough
// that the cost of a hand-over is lost in it, small enough to share one big
// file among all cores.
const block = 16 << 20

// Checksums computes the entries of the named files of dir, by all cores.
//
// A file's checksum is the CRC-32C over the little-endian CRC-32Cs of its
// blocks of 16 MiB: unlike one running checksum, that can be computed in
// parallel within one file, and the memory image of a large process is one file.
func Checksums(dir string, names []string) (Manifest, error) {
	m := make(Manifest, len(names))
	blocks := make([][]uint32, len(names))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("checksum the images: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("checksum the images: %w", err)
		}
		m[i] = Entry{Name: name, Size: info.Size()}
		blocks[i] = make([]uint32, (info.Size()+block-1)/block)
		for b := range blocks[i] {
			part := io.NewSectionReader(f, int64(b)*block, min(block, info.Size()-int64(b)*block))
			into := &blocks[i][b]
			work.Go(func() error { return checksumBlock(part, into) })
		}
	}
	if err := work.Wait(); err != nil {
		return nil, fmt.Errorf("checksum the images in %s: %w", dir, err)
	}
	for i := range m {
		m[i].Sum = combine(blocks[i])
	}
	return m, nil
}

// checksumBlock computes the CRC-32C of one block.
func checksumBlock(r *io.SectionReader, into *uint32) error {
	h := crc32.New(castagnoli())
	const buffer = 256 << 10
	n, err := io.CopyBuffer(h, r, make([]byte, min(buffer, r.Size())))
	if err != nil {
		return err
	}
	if n != r.Size() {
		return fmt.Errorf("the file shrank while it was read: %w", io.ErrUnexpectedEOF)
	}
	*into = h.Sum32()
	return nil
}

// combine makes a file's checksum from those of its blocks.
func combine(blocks []uint32) uint32 {
	var all []byte
	for _, b := range blocks {
		all = binary.LittleEndian.AppendUint32(all, b)
	}
	return crc32.Checksum(all, castagnoli())
}
