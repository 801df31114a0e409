// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// BlockSize is the piece of a file that has a checksum of its own, in bytes; the
// last one of a file may be smaller. It is large enough that the cost of handing
// it to another core is lost in it, and small enough to share one big file among
// all cores.
const BlockSize = 16 << 20

// Checksums computes the entries of the named files of dir, by all cores.
//
// A file's checksum is the CRC-32C over the little-endian CRC-32Cs of its
// blocks of BlockSize: unlike one running checksum, that can be computed in
// parallel within one file, and the memory image of a large process is one file.
func Checksums(dir string, names []string) (Manifest, error) {
	return checksums(dir, names, nil)
}

// checksums is Checksums that does not read what somebody vouches for.
func checksums(dir string, names []string, known map[string]vouched) (Manifest, error) {
	m := make(Manifest, len(names))
	blocks := make([][]uint32, len(names))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			return nil, fmt.Errorf("checksum the images: %w", err)
		}
		m[i] = Entry{Name: name, Size: info.Size()}
		if v, ok := known[name]; ok {
			if blocks[i], err = v.check(info.Size()); err != nil {
				return nil, fmt.Errorf("checksum %s: %w", path, err)
			}
			continue
		}
		blocks[i] = make([]uint32, blockCount(info.Size()))
		for b := range blocks[i] {
			at, into := int64(b)*BlockSize, &blocks[i][b]
			work.Go(func() error { return checksumBlock(path, at, min(BlockSize, info.Size()-at), into) })
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

// blockCount is how many blocks a file of so many bytes has.
func blockCount(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// vouched is what the writer of a file says of it.
type vouched struct {
	size   int64
	blocks []uint32
}

// errVouched says that a file is not what its writer says.
var errVouched = errors.New("it is not as it was written")

// check compares it with the size that the file has.
func (v vouched) check(size int64) ([]uint32, error) {
	if size != v.size {
		return nil, fmt.Errorf("%w: it has %d bytes and should have %d", errVouched, size, v.size)
	}
	if n := blockCount(size); n != int64(len(v.blocks)) {
		return nil, fmt.Errorf("%w: there are checksums of %d blocks and not of %d", errVouched, len(v.blocks), n)
	}
	return v.blocks, nil
}

// checksumBlock computes the CRC-32C of one block. It opens the file for itself,
// which costs nothing beside the reading: a dump of many processes has more files
// than there may be descriptors.
//
// Read, not mapped: two cores check a gigabyte on a tmpfs in 0.11 s this way, of
// which the checksums are 0.02 s, and need 0.17 s to map the pages of it. Nor
// does a file that shrinks meanwhile kill the reader.
func checksumBlock(path string, at, size int64, into *uint32) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h := crc32.New(castagnoli())
	const buffer = 256 << 10
	n, err := io.CopyBuffer(h, io.NewSectionReader(f, at, size), make([]byte, min(buffer, size)))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s shrank while it was read: %w", path, io.ErrUnexpectedEOF)
	}
	*into = h.Sum32()
	return nil
}

// Summer computes the entry of a file that is written to it in pieces, for a reader that
// sees the file but once. It needs the same few bytes of memory for a file of any size.
// The zero value is an empty file.
type Summer struct {
	size  int64
	block uint32 // Of the block that has been begun, if any.
	all   uint32 // Of the checksums of all whole blocks.
}

// Write takes the next piece of the file. It never fails.
func (s *Summer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece := p[:min(int64(len(p)), BlockSize-s.size%BlockSize)]
		s.block = crc32.Update(s.block, castagnoli(), piece)
		s.size += int64(len(piece))
		if s.size%BlockSize == 0 {
			s.all, s.block = s.append(), 0
		}
		p = p[len(piece):]
	}
	return n, nil
}

// append is all with the present block behind it.
func (s *Summer) append() uint32 {
	return crc32.Update(s.all, castagnoli(), binary.LittleEndian.AppendUint32(nil, s.block))
}

// Entry is that of a file which holds what has been written so far.
func (s *Summer) Entry(name string) Entry {
	e := Entry{Name: name, Size: s.size, Sum: s.all}
	if s.size%BlockSize != 0 {
		e.Sum = s.append()
	}
	return e
}

// combine makes a file's checksum from those of its blocks.
func combine(blocks []uint32) uint32 {
	var all []byte
	for _, b := range blocks {
		all = binary.LittleEndian.AppendUint32(all, b)
	}
	return crc32.Checksum(all, castagnoli())
}
