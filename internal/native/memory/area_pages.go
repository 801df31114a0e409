// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"math"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// run is pages that follow one another both in memory and in a pages image.
type run struct {
	addr uint64 // Address of the first one; in a shared object: the offset.
	size uint64 // In bytes.
	off  int64  // Where the first one is in the pages image.
}

func (r run) end() uint64 { return r.addr + r.size }

// part is what of a run lies in a range, which has to lie in the run.
func (r run) part(s span) run {
	return run{addr: s.start, size: s.size(), off: r.off + int64(s.start-r.addr)}
}

// runsOf turns a pagemap into runs. Contents lie in the pages image in the order
// of the entries, without gaps. What is said to be in a parent image, or nowhere,
// is refused.
func runsOf(entries []*pagemap.PagemapEntry) ([]run, error) {
	runs := make([]run, 0, len(entries))
	var off, last uint64
	for _, e := range entries {
		pages, flags := uint64(e.GetNrPages()), e.GetFlags()
		switch {
		case flags&criuimg.PageInParent != 0:
			return nil, fmt.Errorf("pages at %x: %w", e.GetVaddr(), criuimg.ErrParent)
		case flags&criuimg.PagePresent == 0:
			return nil, fmt.Errorf("pages at %x are in no image: %w", e.GetVaddr(), ErrImages)
		case pages == 0 || e.GetVaddr()%pageSize != 0:
			return nil, fmt.Errorf("%d pages at %x: %w", pages, e.GetVaddr(), ErrImages)
		}
		r := run{addr: e.GetVaddr(), size: pages * pageSize, off: int64(off)}
		if r.addr < last || r.end() < r.addr || off+r.size > math.MaxInt64 {
			return nil, fmt.Errorf("%d pages at %x are out of order: %w", pages, r.addr, ErrImages)
		}
		off += r.size
		last = r.end()
		if n := len(runs); n > 0 && runs[n-1].end() == r.addr {
			runs[n-1].size += r.size
			continue
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// bytesOf is the size of all runs together.
func bytesOf(runs []run) (n uint64) {
	for _, r := range runs {
		n += r.size
	}
	return n
}

// within gives the parts of sorted runs that lie in a range.
func within(runs []run, s span) []run {
	var out []run
	for _, r := range runs[firstAfter(runs, s.start):] {
		if r.addr >= s.end {
			break
		}
		out = append(out, r.part(span{max(r.addr, s.start), min(r.end(), s.end)}))
	}
	return out
}

// firstAfter is the index of the first run that ends after an address.
func firstAfter(runs []run, addr uint64) int {
	lo, hi := 0, len(runs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if runs[mid].end() > addr {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}
