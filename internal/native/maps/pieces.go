// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"errors"
	"iter"

	"golang.org/x/sys/unix"
)

// category is a property of a page, a bit of PAGE_IS_ in linux/fs.h.
type category uint64

// The categories that are asked for.
const (
	categoryFile    category = 1 << 2 // Of a file or of shared memory.
	categoryPresent category = 1 << 3 // In memory.
	categorySwapped category = 1 << 4 // On swap; guard pages have it too.
	categoryZero    category = 1 << 5 // The kernel's page of zeros, small or huge.
	categoryGuard   category = 1 << 8 // Since Linux 6.15.
)

// query says which pages are wanted: those of one category of any and of no
// category of none.
type query struct{ any, none category }

// matches reports whether a page of these categories is wanted.
func (q query) matches(c category) bool { return c&q.any != 0 && c&q.none == 0 }

// pieces lists the wanted pages in rising order, not joined, in the best way
// that the kernel offers. Each way takes over from where the one before found
// itself unsupported, which a kernel says at once.
func (p *Pagemap) pieces(start, end uint64, q query) iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		for !p.noScan {
			done, err := p.scan(start, end, q, yield)
			switch {
			case done:
				return
			case errors.Is(err, unix.EINVAL) && !p.noGuard:
				p.noGuard = true
			case errors.Is(err, unix.ENOTTY):
				p.noScan = true
			default:
				yield(Range{}, err)
				return
			}
		}
		if q.any == categoryGuard {
			// A kernel without the scan is older than guard pages are.
			return
		}
		p.readEntries(start, end, q, yield)
	}
}

// withoutGuards is what to ask a scan for that does not know guard pages (Linux
// 6.7 to 6.15). To it they are pages on swap, so those are asked for too; their
// entries tell what they are, see sift.
func (q query) withoutGuards() query {
	if q.any&categoryGuard != 0 {
		q.any = q.any&^categoryGuard | categorySwapped
	}
	q.none &^= categoryGuard
	return q
}

// sift passes on a region of a scan that does not know guard pages. doubtful
// says that its pages are on swap, or guards.
func (p *Pagemap) sift(r Range, doubtful bool, q query, yield func(Range, error) bool) bool {
	if !doubtful {
		return yield(r, nil)
	}
	more := true
	p.readEntries(r.Start, r.End, q, func(r Range, err error) bool {
		more = yield(r, err) && err == nil
		return more
	})
	return more
}
