// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// images is the pages images of a directory. Safe for concurrent use.
type images struct {
	dir *os.File

	mu   sync.Mutex
	open map[uint32]*pagesImage
}

// pagesImage is one pages image, both opened and mapped: what goes to another
// process goes there straight from the page cache.
type pagesImage struct {
	name string
	file *os.File
	data []byte // Never touched by crtime's own code: a file that shrinks would kill it.
}

// get opens a pages image, or gives it again. It has to have at least size bytes.
func (im *images) get(id uint32, size int64) (*pagesImage, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	p := im.open[id]
	if p == nil {
		var err error
		if p, err = openPages(im.dir, fmt.Sprintf("pages-%d.img", id)); err != nil {
			return nil, err
		}
		im.open[id] = p
	}
	if int64(len(p.data)) < size {
		return nil, fmt.Errorf("%s has %d bytes, its pagemap lists %d: %w", p.name, len(p.data), size, ErrImages)
	}
	return p, nil
}

func openPages(dir *os.File, name string) (*pagesImage, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	p := &pagesImage{name: name, file: os.NewFile(uintptr(fd), name)}
	info, err := p.file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("it is no regular file: %w", ErrImages)
	case info.Size() > math.MaxInt:
		err = unix.EFBIG
	case info.Size() > 0:
		p.data, err = unix.Mmap(fd, 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return p, nil
}

// read fills b from the image.
func (p *pagesImage) read(b []byte, off int64) error {
	if _, err := p.file.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// present is a part of the mapped image with all its pages in memory, so that
// the kernel can copy from it. done gives up crtime's share of them; the page
// cache keeps them.
func (p *pagesImage) present(off, size int64) (b []byte, done func(), err error) {
	b = p.data[off : off+size]
	switch err := unix.Madvise(b, unix.MADV_POPULATE_READ); {
	case err == nil, errors.Is(err, unix.EINVAL): // Unknown before Linux 5.14; only faster.
		return b, func() { _ = unix.Madvise(b, unix.MADV_DONTNEED) }, nil
	default:
		return nil, nil, fmt.Errorf("read %d bytes at %d of %s: %w", size, off, p.name, err)
	}
}

func (im *images) close() error {
	var errs []error
	for _, p := range im.open {
		if p.data != nil {
			errs = append(errs, unix.Munmap(p.data))
		}
		errs = append(errs, p.file.Close())
	}
	clear(im.open)
	return errors.Join(errs...)
}
