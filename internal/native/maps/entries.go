// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Page is one entry of /proc/PID/pagemap; the bits are described in
// Documentation/admin-guide/mm/pagemap.rst of the kernel.
type Page uint64

// Present reports whether the page is in memory.
func (p Page) Present() bool { return p&(1<<63) != 0 }

// Swapped reports whether the page is on swap. A guard page counts.
func (p Page) Swapped() bool { return p&(1<<62) != 0 }

// File reports whether the page belongs to a file or to shared memory.
func (p Page) File() bool { return p&(1<<61) != 0 }

// Guard reports whether it is a guard page (told since Linux 6.15).
func (p Page) Guard() bool { return p&(1<<58) != 0 }

// Exclusive reports whether no other address space maps the page.
func (p Page) Exclusive() bool { return p&(1<<56) != 0 }

// SoftDirty reports whether the page was written since clear_refs. A kernel
// without soft-dirty tracking never says so: try it on a page before trusting
// it.
func (p Page) SoftDirty() bool { return p&(1<<55) != 0 }

// PFN is the physical page of a present page; 0 without CAP_SYS_ADMIN.
func (p Page) PFN() uint64 {
	if !p.Present() {
		return 0
	}
	return uint64(p) & (1<<55 - 1)
}

// entrySize is the size of an entry in bytes.
const entrySize = 8

// chunk is how many entries are read at once: 512 KiB, for 256 MiB of memory.
const chunk = 64 << 10

// Pages reads the entries of the pages from an address on into pages and
// returns how many there were; fewer than asked for only where the address
// space ends.
func (p *Pagemap) Pages(addr uint64, pages []Page) (int, error) {
	if p.buf == nil {
		p.buf = make([]byte, chunk*entrySize)
	}
	size := uint64(os.Getpagesize())
	done := 0
	for done < len(pages) {
		b := p.buf[:min(len(p.buf), (len(pages)-done)*entrySize)]
		n, err := p.file.ReadAt(b, int64((addr/size+uint64(done))*entrySize))
		if err != nil && !errors.Is(err, io.EOF) {
			return done, gone(p.path, err)
		}
		if n%entrySize != 0 {
			return done, fmt.Errorf("%s: read %d bytes, which is not a number of entries", p.path, n)
		}
		done += decodePages(b[:n], pages[done:])
		if n < len(b) {
			return done, nil
		}
	}
	return done, nil
}

// decodePages turns what the kernel wrote into entries and returns how many.
func decodePages(b []byte, pages []Page) int {
	n := min(len(b)/entrySize, len(pages))
	for i := range n {
		pages[i] = Page(binary.NativeEndian.Uint64(b[i*entrySize:]))
	}
	return n
}

// readEntries lists the wanted pages by reading an entry for each page of the
// range, the way of kernels before 6.7.
func (p *Pagemap) readEntries(start, end uint64, q query, yield func(Range, error) bool) {
	if err := p.findZero(); err != nil {
		yield(Range{}, err)
		return
	}
	size := uint64(os.Getpagesize())
	pages := make([]Page, min(chunk, (end-start)/size))
	for start < end {
		n, err := p.Pages(start, pages[:min(uint64(len(pages)), (end-start)/size)])
		if err != nil {
			yield(Range{}, err)
			return
		}
		if n == 0 {
			return
		}
		for i, e := range pages[:n] {
			at := start + uint64(i)*size
			if q.matches(p.categories(e)) && !yield(Range{at, at + size}, nil) {
				return
			}
		}
		start += uint64(n) * size
	}
}

// categories gives an entry the categories that a scan would give it. Guards
// count as swapped on kernels that do not tell.
func (p *Pagemap) categories(e Page) category {
	var c category
	if e.Present() {
		c |= categoryPresent
	}
	if e.Swapped() {
		c |= categorySwapped
	}
	if e.File() {
		c |= categoryFile
	}
	if e.Guard() {
		c |= categoryGuard
	}
	if p.zero.known && e.PFN() == p.zero.pfn {
		c |= categoryZero
	}
	return c
}

// pageOfZeros is the physical page that the kernel maps where memory was read
// before it was written. The huge one needs no care: its entries look like
// those of a file.
type pageOfZeros struct {
	sought, known bool
	pfn           uint64
}

// findZero reads a page of our own that was never written, and looks where it
// is. Without CAP_SYS_ADMIN it stays unknown. So it does on a kernel that was told to
// do without such a page: it has put memory there that is ours alone, and that will be
// somebody's data next.
func (p *Pagemap) findZero() error {
	if p.zero.sought {
		return nil
	}
	own, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer own.Close()
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map a page: %w", err)
	}
	defer func() { _ = unix.Munmap(page) }()
	addr := address(page)
	e := [1]Page{}
	if page[0] == 0 {
		if _, err := (&Pagemap{file: own, path: own.Name()}).Pages(addr, e[:]); err != nil {
			return err
		}
	}
	p.zero = pageOfZeros{sought: true, known: e[0].PFN() != 0 && !e[0].Exclusive(), pfn: e[0].PFN()}
	return nil
}
