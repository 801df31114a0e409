// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scanRequest is PAGEMAP_SCAN of linux/fs.h, _IOWR('f', 16, struct pm_scan_arg).
// It is the same number on amd64 and arm64.
const scanRequest = 3<<30 | unsafe.Sizeof(scanArg{})<<16 | 'f'<<8 | 16

// scanArg is struct pm_scan_arg of linux/fs.h.
type scanArg struct {
	size, flags         uint64
	start, end, walkEnd uint64
	vec                 *region
	vecLen, maxPages    uint64
	inverted            category // Taken as their opposite by the two masks.
	mask, anyOf, report category
}

// region is struct page_region of linux/fs.h.
type region struct {
	start, end uint64
	categories category // Of those that were to be reported.
}

// regions is how many regions one request returns at most: 24 KiB.
const regions = 1024

// scan lists the wanted pages by PAGEMAP_SCAN (Linux 6.7). done is true when the
// whole range was listed or yield wanted no more. Errors of an unknown request
// (ENOTTY) or category (EINVAL) come before anything was yielded.
func (p *Pagemap) scan(start, end uint64, q query, yield func(Range, error) bool) (done bool, err error) {
	ask := q
	var report category
	if p.noGuard {
		ask, report = q.withoutGuards(), categorySwapped
	}
	if p.regions == nil {
		p.regions = make([]region, regions)
	}
	for start < end {
		arg := scanArg{
			size: uint64(unsafe.Sizeof(scanArg{})), start: start, end: end,
			vec: unsafe.SliceData(p.regions), vecLen: uint64(len(p.regions)),
			inverted: ask.none, mask: ask.none, anyOf: ask.any, report: report,
		}
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, p.file.Fd(), scanRequest, uintptr(unsafe.Pointer(&arg)))
		if errno != 0 {
			return false, errno
		}
		for _, r := range p.regions[:n] {
			if !p.sift(Range{r.start, r.end}, r.categories&categorySwapped != 0, q, yield) {
				return true, nil
			}
		}
		if int(n) < len(p.regions) {
			// Nothing but a full vector ends the walk early.
			return true, nil
		}
		// Do not go by walk_end alone: a walk that the kernel did in several
		// pieces (of 512 regions) and completed leaves there where its last
		// piece began (seen with 6.18), and the rest would be listed twice.
		next := max(arg.walkEnd, p.regions[n-1].end)
		if next <= start {
			return false, errors.New("PAGEMAP_SCAN does not get on")
		}
		start = next
	}
	return true, nil
}
