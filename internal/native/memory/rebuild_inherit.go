// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/remote"
)

// heirloom is the part of an area that a process has from its parent.
type heirloom struct {
	span
	from []*vma.VmaEntry // The parent's areas that it lies in, one behind the other.
}

// keep finds out which areas of a process can be had from its parent, in part at
// least. Since the fork, either may have cut an area in two, or let a heap grow
// upward or a stack downward.
func keep(sp, up *space) map[*vma.VmaEntry]heirloom {
	kept := make(map[*vma.VmaEntry]heirloom)
	for _, e := range sp.areas {
		var h heirloom
		for at := e.GetStart(); at < e.GetEnd(); {
			old := up.areaFrom(at)
			if old == nil || old.GetStart() >= e.GetEnd() || !h.empty() && old.GetStart() > h.end {
				break
			}
			at = old.GetEnd()
			if !alike(e, old) {
				continue
			}
			part := span{max(old.GetStart(), e.GetStart()), min(old.GetEnd(), e.GetEnd())}
			if h.empty() {
				h.start = part.start
			} else if part.start != h.end {
				break
			}
			h.end = part.end
			h.from = append(h.from, old)
		}
		if !h.empty() {
			kept[e] = h
		}
	}
	return kept
}

// alike says whether memory of a mapping can be a copy of another's that fork
// made, where they overlap.
func alike(e, old *vma.VmaEntry) bool {
	const fixed = unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN | unix.MAP_NORESERVE | unix.MAP_STACK
	switch {
	case !private(e), !private(old):
		return false
	case (e.GetFlags()^old.GetFlags())&fixed != 0:
		return false
	case mapsFile(e) != mapsFile(old):
		return false
	case mapsFile(e):
		return sourceOf(e) == sourceOf(old) && e.GetPgoff()-e.GetStart() == old.GetPgoff()-old.GetStart()
	default:
		return true
	}
}

// unmap takes away what the process has from its parent and is not kept.
func (m *mapping) unmap(up *space, kept map[*vma.VmaEntry]heirloom) {
	var stays []span
	for _, h := range kept {
		stays = append(stays, h.span)
	}
	stays = joined(stays)
	var gone []span
	for _, old := range up.areas {
		at := old.GetStart()
		for _, s := range stays {
			if s.end <= at || s.start >= old.GetEnd() {
				continue
			}
			if s.start > at {
				gone = append(gone, span{at, s.start})
			}
			at = s.end
		}
		if at < old.GetEnd() {
			gone = append(gone, span{at, old.GetEnd()})
		}
	}
	for _, s := range joined(gone) {
		m.calls.add(must("unmap "+s.String()+" of the parent", unix.SYS_MUNMAP, s.start, s.size()))
	}
}

// inherit plans an area that is kept in part at least: equal pages stay shared
// with the parent, and pages that the process does not have are dropped.
func (m *mapping) inherit(e *vma.VmaEntry, contents []run, up *building, h heirloom) {
	whole := m.complete(e, h)
	theirs := within(up.space.runs, h.span)
	for _, s := range without(theirs, contents) {
		m.calls.add(must("drop "+s.String()+" of the parent", unix.SYS_MADVISE, s.start, s.size(), unix.MADV_DONTNEED))
	}
	for _, c := range contents {
		m.work = append(m.work, twins(c, theirs)...)
	}
	// What is mapped now is what the parent has. Finish sets what is recorded.
	now, uniform := up.prot[h.from[0]], whole
	for _, old := range h.from[1:] {
		uniform = uniform && up.prot[old] == now
	}
	if uniform && (len(contents) == 0 || now&unix.PROT_WRITE != 0) {
		m.prot[e] = now
		return
	}
	m.prot[e] = writable(e.GetProt())
	m.calls.add(protect(span{h.start, e.GetEnd()}, m.prot[e]))
}

// complete plans the rest of an area of which the process has a part. whole says
// that the kernel takes all of it for one mapping then.
func (m *mapping) complete(e *vma.VmaEntry, h heirloom) (whole bool) {
	if more := e.GetEnd() - h.end; more > 0 {
		// A heap that has grown. A mapping beside it would not become one with it.
		m.calls.add(must(fmt.Sprintf("let %s grow to %x", h.span, e.GetEnd()), unix.SYS_MREMAP,
			h.end-pageSize, pageSize, pageSize+more, 0))
	}
	switch {
	case e.GetStart() == h.start:
		return true
	case e.GetFlags()&unix.MAP_GROWSDOWN != 0:
		m.deep = append(m.deep, e)
		return true
	default:
		below := proto.CloneOf(e)
		below.End = proto.Uint64(h.start)
		m.fresh = append(m.fresh, below)
		m.prot[below] = writable(e.GetProt())
		return false
	}
}

// deepen lets stacks grow down to where they begin. The kernel does that for
// anybody who reads there through /proc/PID/mem.
func (m *mapping) deepen(pid int) error {
	if len(m.deep) == 0 {
		return nil
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	for _, e := range m.deep {
		if _, err := mem.ReadAt(make([]byte, 1), int64(e.GetStart())); err != nil {
			return fmt.Errorf("let the stack grow down to %x (is crtime's own limit for stacks as high as it was for the process?): %w", e.GetStart(), err)
		}
	}
	return nil
}

// protect sets the protection of a range.
func protect(s span, prot uint32) remote.Call {
	return must("protect "+s.String(), unix.SYS_MPROTECT, s.start, s.size(), uint64(prot))
}

// without gives the ranges of a that are not in b; both are sorted.
func without(a, b []run) []span {
	var out []span
	for _, r := range a {
		at := r.addr
		for _, o := range b[firstAfter(b, r.addr):] {
			if o.addr >= r.end() {
				break
			}
			if o.addr > at {
				out = append(out, span{at, o.addr})
			}
			at = max(at, o.end())
		}
		if at < r.end() {
			out = append(out, span{at, r.end()})
		}
	}
	return out
}

// twins splits a run where the parent begins or ends to have pages.
func twins(c run, theirs []run) []stretch {
	var out []stretch
	at := c.addr
	alone := func(to uint64) {
		if to > at {
			out = append(out, stretch{run: c.part(span{at, to}), how: write})
		}
	}
	for _, o := range theirs[firstAfter(theirs, c.addr):] {
		if o.addr >= c.end() {
			break
		}
		both := span{max(o.addr, at), min(o.end(), c.end())}
		alone(both.start)
		out = append(out, stretch{run: c.part(both), how: compare, twin: o.part(both).off})
		at = both.end
	}
	alone(c.end())
	return out
}
