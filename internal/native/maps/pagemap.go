// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"fmt"
	"iter"
	"os"
	"strconv"
)

// Range is a part of an address space, whole pages.
type Range struct {
	Start, End uint64 // The end is the first address behind it.
}

// Size is the length in bytes.
func (r Range) Size() uint64 { return r.End - r.Start }

// Pagemap says what the pages of one address space hold. It is not safe for
// concurrent use.
type Pagemap struct {
	file *os.File
	path string
	// noScan is set when the kernel was found not to have PAGEMAP_SCAN (it came
	// with Linux 6.7), noGuard when its scan knows no guard pages (before 6.16).
	noScan, noGuard bool

	regions []region // For scan.
	buf     []byte   // For entries.
	// zero is the kernel's page of zeros, if it can be known.
	zero pageOfZeros
}

// Open opens the pagemap of a process. The error is proc.ErrGone when there is
// no such process.
func Open(pid int) (*Pagemap, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/pagemap"
	f, err := os.Open(path)
	if err != nil {
		return nil, gone(path, err)
	}
	return &Pagemap{file: f, path: path}, nil
}

// Close closes it.
func (p *Pagemap) Close() error { return p.file.Close() }

// Populated lists the pages between two addresses that hold private data, in
// rising order and joined where they touch: those of anonymous private memory
// that were written, and those of private file mappings that differ from the
// file. Pages on swap are among them, guard pages are not. Shared memory is
// never listed. After an error there is nothing more.
//
// On kernels before 6.7 an entry is read for each page of the range, and a page
// that was only read counts as written if crtime may not see physical addresses
// (CAP_SYS_ADMIN): it holds zeros. On 6.13 and 6.14, which have guard pages and
// do not tell, they count as being on swap: they cannot be read (EFAULT).
func (p *Pagemap) Populated(start, end uint64) iter.Seq2[Range, error] {
	return p.list(start, end, query{
		any:  categoryPresent | categorySwapped,
		none: categoryFile | categoryZero | categoryGuard,
	})
}

// Mapped lists the pages between two addresses that are mapped and belong to a file or
// to shared memory, in rising order and joined where they touch.
func (p *Pagemap) Mapped(start, end uint64) iter.Seq2[Range, error] {
	return p.list(start, end, query{
		any:  categoryFile,
		none: categorySwapped | categoryGuard,
	})
}

// Guards lists the pages between two addresses that are guards, which
// madvise(MADV_GUARD_INSTALL) makes (Linux 6.13). A kernel before 6.15 cannot
// tell: nothing is listed.
func (p *Pagemap) Guards(start, end uint64) iter.Seq2[Range, error] {
	return p.list(start, end, query{any: categoryGuard})
}

// Populated is Pagemap.Populated for one look at a process.
func Populated(pid int, start, end uint64) iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		p, err := Open(pid)
		if err != nil {
			yield(Range{}, err)
			return
		}
		defer p.Close()
		p.Populated(start, end)(yield)
	}
}

// list checks the bounds and joins what the kernel reports in pieces.
func (p *Pagemap) list(start, end uint64, q query) iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		size := uint64(os.Getpagesize())
		if start%size != 0 || end%size != 0 || start > end {
			yield(Range{}, fmt.Errorf("%s: %x-%x is no range of pages", p.path, start, end))
			return
		}
		var last Range
		for r, err := range p.pieces(start, end, q) {
			switch {
			case err != nil:
				if last.Size() == 0 || yield(last, nil) {
					yield(Range{}, fmt.Errorf("%s: %w", p.path, err))
				}
				return
			case r.Start == last.End && last.Size() > 0:
				last.End = r.End
			default:
				if last.Size() > 0 && !yield(last, nil) {
					return
				}
				last = r
			}
		}
		if last.Size() > 0 {
			yield(last, nil)
		}
	}
}
