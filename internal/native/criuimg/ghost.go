// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"golang.org/x/sys/unix"
)

// Ghost is a file that had no name any more but was still open, with its
// content (regular files only).
type Ghost struct {
	Entry *ghost_file.GhostFileEntry

	// Chunks are the ranges that hold data where Entry.Chunks is set, in
	// ascending order; all else of Entry.Size bytes is a hole. Without
	// Entry.Chunks the whole content is stored.
	Chunks []*ghost_file.GhostChunkEntry

	// Content reads the file at the file's own offsets; nil: there is none.
	// A dump puts the open file here, which stays the caller's and must stay
	// open until Write has returned. After Load it reads the image: it needs no
	// closing, and returns zeroes for holes.
	Content io.ReaderAt
	Size    int64 // Of the file, in bytes.
}

// regular reports whether the ghost is a file with content.
func (g *Ghost) regular() bool { return g.Entry.GetMode()&unix.S_IFMT == unix.S_IFREG }

// readGhost reads a ghost file. Its content, which may be large, stays where it is.
func readGhost(x *parts, id uint64, src *source) error {
	entry, err := readFirst[ghost_file.GhostFileEntry](src)
	if err != nil {
		return err
	}
	g := &Ghost{Entry: entry}
	content := &ghostContent{files: x.files, name: src.name}
	if entry.GetChunks() {
		err = g.readChunks(src, content)
	} else {
		g.Size = src.left()
		content.parts = []part{{image: src.at, size: g.Size}}
	}
	content.size = g.Size
	if err == nil && g.regular() {
		g.Content = content
	}
	return x.ghost.put(uint32(id), g, err)
}

// readChunks reads the list of ranges, each with its bytes behind it.
func (g *Ghost) readChunks(src *source, content *ghostContent) error {
	if g.Entry.Size == nil || g.Entry.GetSize() > maxFileSize {
		return src.wrong("it does not say how large the file is, or too large a number")
	}
	g.Size = int64(g.Entry.GetSize())
	var end uint64
	for {
		c := new(ghost_file.GhostChunkEntry)
		more, err := src.next(c)
		if err != nil || !more {
			return err
		}
		// Block sizes make CRIU's last range reach beyond the end of the file.
		if c.GetOff() < end || c.GetOff() > uint64(g.Size) || c.GetLen() > maxFileSize {
			return src.wrong("the range of %d bytes at %d is out of order, or outside the file of %d bytes", c.GetLen(), c.GetOff(), g.Size)
		}
		end = c.GetOff() + c.GetLen()
		at, err := src.skip(c.GetLen())
		if err != nil {
			return err
		}
		g.Chunks = append(g.Chunks, c)
		content.parts = append(content.parts, part{file: int64(c.GetOff()), image: at, size: int64(c.GetLen())})
	}
}

// maxFileSize is a bound for offsets in files, so that sums cannot overflow.
const maxFileSize = 1 << 62

// part is a range of a ghost file: where it is in the file, and in the image.
type part struct{ file, image, size int64 }

// ghostContent reads a ghost file's content out of its image.
type ghostContent struct {
	files fs.FS
	name  string // Of the image.
	parts []part // Ascending, not overlapping.
	size  int64  // Of the file.
}

// ReadAt implements io.ReaderAt.
func (c *ghostContent) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", c.name, off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), c.size-off))
	if err := c.fill(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill reads a range that lies within the file.
func (c *ghostContent) fill(p []byte, off int64) error {
	opened, err := c.files.Open(c.name)
	if err != nil {
		return fmt.Errorf("read the content of a deleted file: %w", err)
	}
	defer opened.Close()
	f, ok := opened.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("read the content of a deleted file: %s is not a regular file", c.name)
	}
	clear(p)
	first, _ := slices.BinarySearchFunc(c.parts, off, func(q part, at int64) int {
		if q.file+q.size <= at {
			return -1
		}
		return 1
	})
	end := off + int64(len(p))
	for _, q := range c.parts[first:] {
		from, to := max(q.file, off), min(q.file+q.size, end)
		if from >= to {
			break
		}
		if _, err := f.ReadAt(p[from-off:to-off], q.image+from-q.file); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read the content of a deleted file: %w", err)
		}
	}
	return nil
}

// writeGhost writes one ghost file. Its content is copied piece by piece.
func writeGhost(f io.Writer, g *Ghost) error {
	s := newSink(&kindGhost)
	s.put(g.Entry)
	if err := s.flush(f); err != nil {
		return err
	}
	switch {
	case g.Content == nil:
		return nil
	case !g.Entry.GetChunks():
		return copyRange(f, g.Content, 0, g.Size)
	}
	for _, c := range g.Chunks {
		s.put(c)
		if err := s.flush(f); err != nil {
			return err
		}
		// The padding of a last range that reaches beyond the file.
		off, size := int64(c.GetOff()), int64(c.GetLen())
		inside := min(size, g.Size-off)
		if err := copyRange(f, g.Content, off, inside); err != nil {
			return err
		}
		if _, err := io.CopyN(f, zeroes{}, size-inside); err != nil {
			return err
		}
	}
	return nil
}

// copyRange copies exactly size bytes.
func copyRange(w io.Writer, r io.ReaderAt, off, size int64) error {
	n, err := io.Copy(w, io.NewSectionReader(r, off, size))
	if err == nil && n != size {
		return fmt.Errorf("the deleted file shrank while it was saved: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// zeroes reads as zeroes without an end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
