// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
)

// span is a range of addresses: the first byte, and the one behind the last.
type span struct{ start, end uint64 }

func (s span) size() uint64 { return s.end - s.start }

func (s span) empty() bool { return s.end <= s.start }

func (s span) overlaps(o span) bool { return s.start < o.end && o.start < s.end }

func (s span) contains(o span) bool { return s.start <= o.start && o.end <= s.end }

func (s span) String() string { return fmt.Sprintf("%x-%x", s.start, s.end) }

// space is the address space of one process as its images describe it. It is
// never changed once made.
type space struct {
	pid    int
	mm     *mm.MmEntry
	areas  []*vma.VmaEntry // What has to be mapped, sorted. Neither guards nor the kernel's own.
	guards []span          // Pages inside areas that are traps.
	vdso   span            // Empty: the process has none.
	vvar   span            // Empty: the process has none.
	runs   []run           // The saved pages, sorted.
	pages  uint32          // The number of the pages image that has them.
}

// newSpace sorts out what the images of one process say, and refuses what
// cannot be rebuilt.
func newSpace(pid int, m *mm.MmEntry, runs []run, pages uint32) (*space, error) {
	sp := &space{pid: pid, mm: m, runs: runs, pages: pages}
	for _, e := range m.GetVmas() {
		if err := sp.add(e); err != nil {
			return nil, fmt.Errorf("process %d, mapping %s: %w", pid, spanOf(e), err)
		}
	}
	if err := checkLockNew(m); err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	slices.SortStableFunc(sp.areas, func(a, b *vma.VmaEntry) int { return cmp.Compare(a.GetStart(), b.GetStart()) })
	return sp, sp.check()
}

// add puts one entry where it belongs.
func (sp *space) add(e *vma.VmaEntry) error {
	status := e.GetStatus()
	s := spanOf(e)
	switch {
	case s.empty() || s.start%pageSize != 0 || s.end%pageSize != 0:
		return fmt.Errorf("the images give it no whole pages: %w", ErrImages)
	case status&(statusVsyscall|statusUprobes) != 0:
		return nil
	case status&statusGuard != 0:
		sp.guards = append(sp.guards, s)
	case status&statusVDSO != 0:
		sp.vdso = s
	case status&statusVVAR != 0:
		if sp.vvar.empty() {
			sp.vvar = s
		}
		sp.vvar = span{min(sp.vvar.start, s.start), max(sp.vvar.end, s.end)}
	default:
		if err := supported(e); err != nil {
			return err
		}
		sp.areas = append(sp.areas, e)
	}
	return nil
}

// check looks at the mappings together.
func (sp *space) check() error {
	var last span
	for _, e := range sp.areas {
		s := spanOf(e)
		if s.start < last.end {
			return fmt.Errorf("process %d: mappings %s and %s overlap: %w", sp.pid, last, s, ErrImages)
		}
		if s.end > taskSize {
			return fmt.Errorf("process %d: mapping %s lies beyond what this kernel gives a process: %w", sp.pid, s, ErrImages)
		}
		last = s
	}
	for _, g := range sp.guards {
		if e := sp.areaAt(g.start); e == nil || !spanOf(e).contains(g) {
			return fmt.Errorf("process %d: guard pages %s lie in no mapping: %w", sp.pid, g, ErrImages)
		}
	}
	for _, r := range sp.runs {
		if err := sp.checkRun(r); err != nil {
			return err
		}
	}
	return nil
}

// checkRun sees to it that saved pages have a place to go to.
func (sp *space) checkRun(r run) error {
	for at := r.addr; at < r.end(); {
		e := sp.areaAt(at)
		switch {
		case e != nil && private(e):
			at = e.GetEnd()
		case sp.vdso.start <= at && at < sp.vdso.end:
			at = sp.vdso.end
		default:
			return fmt.Errorf("process %d: the saved pages %s are not those of private memory: %w",
				sp.pid, span{r.addr, r.end()}, ErrImages)
		}
	}
	return nil
}

// areaAt is the mapping that has an address, or nil.
func (sp *space) areaAt(addr uint64) *vma.VmaEntry {
	i, found := slices.BinarySearchFunc(sp.areas, addr, func(e *vma.VmaEntry, addr uint64) int {
		switch {
		case e.GetEnd() <= addr:
			return -1
		case e.GetStart() > addr:
			return 1
		default:
			return 0
		}
	})
	if !found {
		return nil
	}
	return sp.areas[i]
}

// areaFrom is the first mapping that ends behind an address, or nil.
func (sp *space) areaFrom(addr uint64) *vma.VmaEntry {
	i, _ := slices.BinarySearchFunc(sp.areas, addr, func(e *vma.VmaEntry, addr uint64) int {
		if e.GetEnd() <= addr {
			return -1
		}
		return 1
	})
	if i == len(sp.areas) {
		return nil
	}
	return sp.areas[i]
}

// taken is every range that something of the process has, sorted and joined:
// its mappings, the kernel's and, below each stack, the room to grow.
func (sp *space) taken() []span {
	var all []span
	for _, e := range sp.areas {
		s := spanOf(e)
		if e.GetFlags()&unix.MAP_GROWSDOWN != 0 {
			s.start -= min(s.start, stackRoom)
		}
		all = append(all, s)
	}
	if !sp.vdso.empty() {
		all = append(all, sp.vdso)
	}
	if !sp.vvar.empty() {
		all = append(all, sp.vvar)
	}
	return joined(all)
}

// joined sorts ranges and joins those that touch.
func joined(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && s.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}

func spanOf(e *vma.VmaEntry) span { return span{e.GetStart(), e.GetEnd()} }

// private says that the pages of a mapping belong to its process alone.
func private(e *vma.VmaEntry) bool {
	return e.GetStatus()&(statusFilePrivate|statusAnonPrivate) != 0
}

// anonymous says that a mapping is private and of no file.
func anonymous(e *vma.VmaEntry) bool {
	return e.GetStatus()&statusAnonPrivate != 0 && e.GetFlags()&unix.MAP_ANONYMOUS != 0
}

// mapsFile says that a mapping is of a file of files.img, which its shmid names.
func mapsFile(e *vma.VmaEntry) bool {
	return e.GetStatus()&(statusFilePrivate|statusFileShared) != 0
}
