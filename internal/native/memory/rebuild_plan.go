// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
)

// way is how contents get into a process.
type way uint8

const (
	// write copies the pages into mapped, writable memory.
	write way = iota
	// direct hands the pages to the kernel where there are none yet. Twice as
	// fast: the kernel does not clear pages first.
	direct
	// compare writes only what differs from the parent's pages, which the
	// process has already.
	compare
)

// directFrom is from how many bytes on an area is worth the calls that prepare it
// for direct. (500 areas of one page each: 3.0 ms of processor time against 4.2.)
const directFrom = 1 << 20

// stretch is contents of one mapping that are to be written in one way.
type stretch struct {
	run
	how  way
	twin int64 // compare: where the parent's pages are in its pages image.
}

// mapping is what Map has to do for one process.
type mapping struct {
	calls table                    // What makes the parent's copy fit: unmap, grow, drop, protect.
	fresh []*vma.VmaEntry          // What has to be mapped then.
	prot  map[*vma.VmaEntry]uint32 // How each area is protected until Finish.
	work  []stretch                // What has to be written then, by address.
	deep  []*vma.VmaEntry          // Stacks that have to be grown down to their beginning.
}

// fill says whether something is written in a certain way.
func (m *mapping) fill(how way) bool {
	for _, w := range m.work {
		if w.how == how {
			return true
		}
	}
	return false
}

// planMap works out how a process gets its mappings. up is what its parent has
// been made, of which the process is a copy; nil: it has nothing.
func planMap(sp *space, up *building) *mapping {
	m := &mapping{prot: make(map[*vma.VmaEntry]uint32, len(sp.areas))}
	kept := make(map[*vma.VmaEntry]heirloom)
	if up != nil {
		kept = keep(sp, up.space)
		m.unmap(up.space, kept)
	}
	for _, e := range sp.areas {
		contents := within(sp.runs, spanOf(e))
		if h, have := kept[e]; have {
			m.inherit(e, contents, up, h)
			continue
		}
		m.prot[e] = e.GetProt()
		if len(contents) > 0 {
			m.prot[e] = writable(e.GetProt())
		}
		m.fresh = append(m.fresh, e)
		how := write
		if anonymous(e) && e.GetMadv()&(1<<unix.MADV_HUGEPAGE) == 0 && bytesOf(contents) >= directFrom {
			how = direct
		}
		for _, c := range contents {
			m.work = append(m.work, stretch{run: c, how: how})
		}
	}
	return m
}

// writable is the protection with which contents are written. The memory is not
// executed meanwhile; some systems forbid memory that can be both.
func writable(prot uint32) uint32 {
	if prot&unix.PROT_WRITE != 0 {
		return prot
	}
	return unix.PROT_READ | unix.PROT_WRITE
}
