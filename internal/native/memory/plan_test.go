// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/remote"
)

// model is what an address space has at each page, by its number.
type model map[uint64]modelPage

// modelPage is one page of a model.
type modelPage struct {
	file   uint64 // What is mapped; 0: anonymous memory.
	pgoff  uint64
	stack  bool
	prot   uint32
	exists bool  // It has contents of its own,
	off    int64 // from here in the pages image of the process.
}

// The pages that the random spaces of the tests have.
const (
	firstPage = 0x100
	lastPage  = 0x130
)

// drawSpace makes an address space up. like is what it may resemble.
func drawSpace(t *rapid.T, name string, like *space) *space {
	var entries []*vma.VmaEntry
	if like != nil && rapid.Bool().Draw(t, name+" resembles") {
		entries = resemble(t, like)
	} else {
		for at := uint64(firstPage); at < lastPage; {
			size := rapid.Uint64Range(1, 12).Draw(t, "size")
			if rapid.IntRange(0, 3).Draw(t, "gap") > 0 {
				entries = append(entries, drawArea(t, at, min(size, lastPage-at)))
			}
			at += size
		}
	}
	var ranges [][2]uint64
	for _, e := range entries {
		for at := e.GetStart() / pageSize; at < e.GetEnd()/pageSize; at++ {
			if rapid.Bool().Draw(t, "populated") {
				ranges = append(ranges, [2]uint64{at, 1})
			}
		}
	}
	runs, err := runsOf(pages(1, ranges...).Entries)
	if err != nil {
		t.Fatal(err)
	}
	sp, err := newSpace(1, &mm.MmEntry{Vmas: entries}, runs, 1)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

func drawArea(t *rapid.T, at, size uint64) *vma.VmaEntry {
	e := anon(at, size)
	e.Prot = proto.Uint32(rapid.SampledFrom([]uint32{unix.PROT_NONE, unix.PROT_READ, rw, unix.PROT_READ | unix.PROT_EXEC}).Draw(t, "prot"))
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		e.Flags = proto.Uint32(unix.MAP_PRIVATE)
		e.Status = proto.Uint32(statusRegular | statusFilePrivate)
		e.Shmid = proto.Uint64(rapid.Uint64Range(1, 2).Draw(t, "file"))
		e.Pgoff = proto.Uint64(at % 8 * pageSize)
	case 1:
		e.Flags = proto.Uint32(anonPrivate | unix.MAP_GROWSDOWN)
	}
	return e
}

// resemble changes a space a little, as a process does after a fork.
func resemble(t *rapid.T, like *space) []*vma.VmaEntry {
	var out []*vma.VmaEntry
	last := uint64(firstPage)
	for i, old := range like.areas {
		e := proto.CloneOf(old)
		next := uint64(lastPage)
		if i+1 < len(like.areas) {
			next = like.areas[i+1].GetStart() / pageSize
		}
		start, end := e.GetStart()/pageSize, e.GetEnd()/pageSize
		switch rapid.IntRange(0, 6).Draw(t, "change") {
		case 0: // Gone.
			last = end
			continue
		case 1: // Grown.
			end = rapid.Uint64Range(end, next).Draw(t, "end")
		case 2: // Shrunk.
			end = rapid.Uint64Range(start+1, end).Draw(t, "end")
		case 3: // Grown downward.
			start = rapid.Uint64Range(min(last, start), start).Draw(t, "start")
		case 4: // Cut.
			if middle := rapid.Uint64Range(start, end).Draw(t, "middle"); middle > start && middle < end {
				other := cutArea(e, middle, end)
				other.Prot = proto.Uint32(unix.PROT_READ)
				out = append(out, cutArea(e, start, middle), other)
				last = end
				continue
			}
		}
		out = append(out, cutArea(e, start, end))
		last = end
	}
	return out
}

// cutArea is an area with other bounds, of the same file.
func cutArea(e *vma.VmaEntry, start, end uint64) *vma.VmaEntry {
	out := proto.CloneOf(e)
	out.Start, out.End = proto.Uint64(start*pageSize), proto.Uint64(end*pageSize)
	if mapsFile(e) {
		out.Pgoff = proto.Uint64((e.GetPgoff() + start*pageSize - e.GetStart()) % (64 * pageSize))
	}
	return out
}

// modelOf is what a space is to have when it is filled.
func modelOf(sp *space, prot map[*vma.VmaEntry]uint32) model {
	m := model{}
	for _, e := range sp.areas {
		m.apply(e, prot[e])
	}
	for _, r := range sp.runs {
		m.fill(r)
	}
	return m
}

func (m model) apply(e *vma.VmaEntry, prot uint32) {
	for at := e.GetStart(); at < e.GetEnd(); at += pageSize {
		p := modelPage{prot: prot, stack: e.GetFlags()&unix.MAP_GROWSDOWN != 0}
		if mapsFile(e) {
			p.file, p.pgoff = e.GetShmid(), e.GetPgoff()+at-e.GetStart()
		}
		m[at/pageSize] = p
	}
}

func (m model) fill(r run) {
	for at := r.addr; at < r.end(); at += pageSize {
		p := m[at/pageSize]
		p.exists, p.off = true, r.off+int64(at-r.addr)
		m[at/pageSize] = p
	}
}

// call does what the kernel does.
func (m model) call(c remote.Call) error {
	first, end := c.Args[0]/pageSize, (c.Args[0]+c.Args[1])/pageSize
	if c.Nr == unix.SYS_MREMAP {
		// It lets a mapping grow whose last page is named.
		last := m[first]
		for at := first + 1; at < first+c.Args[2]/pageSize; at++ {
			if _, taken := m[at]; taken {
				return fmt.Errorf("page %x is in the way", at)
			}
			p := last
			p.exists, p.off, p.pgoff = false, 0, 0
			if last.file != 0 {
				p.pgoff = last.pgoff + (at-first)*pageSize
			}
			m[at] = p
		}
		return nil
	}
	for at := first; at < end; at++ {
		p, have := m[at]
		if !have && c.Nr != unix.SYS_MUNMAP {
			return fmt.Errorf("%s: page %x is not mapped", c.Name, at)
		}
		switch c.Nr {
		case unix.SYS_MUNMAP:
			delete(m, at)
			continue
		case unix.SYS_MADVISE:
			p.exists, p.off = false, 0
		case unix.SYS_MPROTECT:
			p.prot = uint32(c.Args[2])
		}
		m[at] = p
	}
	return nil
}

// TestPlanMap makes up address spaces of a parent and a child, does what the plan
// for the child says, and looks whether it has what it is to have.
func TestPlanMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent := drawSpace(t, "parent", nil)
		up := planMap(parent, nil)
		built := &building{space: parent, prot: up.prot}
		child := drawSpace(t, "child", parent)
		plan := planMap(child, built)
		has := modelOf(parent, up.prot)
		for _, batch := range plan.calls.batches {
			for _, c := range batch {
				if err := has.call(c); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, e := range plan.fresh {
			for at := e.GetStart() / pageSize; at < e.GetEnd()/pageSize; at++ {
				if _, taken := has[at]; taken {
					t.Fatalf("page %x is in the way of %s", at, spanOf(e))
				}
			}
			has.apply(e, plan.prot[e])
		}
		for _, e := range plan.deep {
			deepen(t, has, e)
		}
		for _, w := range plan.work {
			put(t, has, w)
		}
		want := modelOf(child, plan.prot)
		if !reflect.DeepEqual(map[uint64]modelPage(has), map[uint64]modelPage(want)) {
			t.Fatalf("got  %v\nwant %v", has, want)
		}
	})
}

// deepen lets a stack grow down.
func deepen(t *rapid.T, m model, e *vma.VmaEntry) {
	at := e.GetEnd()/pageSize - 1
	for ; at*pageSize > e.GetStart(); at-- {
		p := m[at]
		if _, have := m[at-1]; !have {
			m[at-1] = modelPage{stack: p.stack, prot: p.prot}
		}
	}
	if !m[at].stack {
		t.Fatalf("%s is no stack", spanOf(e))
	}
}

// writeModel writes a stretch.
func put(t *rapid.T, m model, w stretch) {
	for at := w.addr; at < w.end(); at += pageSize {
		p, have := m[at/pageSize]
		if !have || p.prot&unix.PROT_WRITE == 0 {
			t.Fatalf("page %x is written, which is %+v", at/pageSize, p)
		}
		if twin := w.twin + int64(at-w.addr); w.how == compare && (!p.exists || p.off != twin) {
			t.Fatalf("page %x is compared with the parent's at %x and is %+v", at/pageSize, twin, p)
		}
	}
	m.fill(w.run)
}

// TestCut cuts work into pieces, which must be all of it, in order.
func TestCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var work []stretch
		addr, off := uint64(0), int64(0)
		for range rapid.IntRange(0, 40).Draw(t, "stretches") {
			addr += rapid.Uint64Range(0, 3).Draw(t, "gap") * pageSize
			off += rapid.Int64Range(0, 1).Draw(t, "skip") * pageSize
			size := rapid.SampledFrom([]uint64{1, 2, 100, pieceSize/pageSize - 1, pieceSize / pageSize, 3*pieceSize/pageSize + 1}).Draw(t, "size") * pageSize
			work = append(work, stretch{run: run{addr, size, off}, how: way(rapid.IntRange(0, 2).Draw(t, "how")), twin: off * 2})
			addr, off = addr+size, off+int64(size)
		}
		var got []stretch
		for _, p := range cut(piece{}, work) {
			if p.size > pieceSize || len(p.parts) > pieceRuns {
				t.Fatalf("a piece of %d bytes in %d parts", p.size, len(p.parts))
			}
			at := p.parts[0].off
			for _, s := range p.parts {
				if s.how != p.how || s.off != at {
					t.Fatalf("%+v is in %+v", s, p)
				}
				at += int64(s.size)
				if n := len(got); n > 0 && got[n-1].end() == s.addr && got[n-1].off+int64(got[n-1].size) == s.off && got[n-1].how == s.how && got[n-1].twin+int64(got[n-1].size) == s.twin {
					got[n-1].size += s.size
					continue
				}
				got = append(got, s)
			}
			if int64(p.size) != at-p.parts[0].off {
				t.Fatalf("%+v is said to be %d bytes", p.parts, p.size)
			}
		}
		var want []stretch
		for _, s := range work {
			if n := len(want); n > 0 && want[n-1].end() == s.addr && want[n-1].off+int64(want[n-1].size) == s.off && want[n-1].how == s.how && want[n-1].twin+int64(want[n-1].size) == s.twin {
				want[n-1].size += s.size
				continue
			}
			want = append(want, s)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

// TestPartsAt cuts ranges out of a file; together they are all of it.
func TestPartsAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sp := drawSpace(t, "space", nil)
		var size int64
		for _, r := range sp.runs {
			size += int64(r.size)
		}
		var got []run
		for at := int64(0); at < size; {
			n := min(rapid.Int64Range(1, 20).Draw(t, "size")*1024, size-at)
			var sum int64
			for _, p := range partsAt(sp.runs, at, n, nil) {
				if p.off != at+sum {
					t.Fatalf("%+v does not begin at %d", p, at+sum)
				}
				sum += int64(p.size)
				if l := len(got); l > 0 && got[l-1].end() == p.addr {
					got[l-1].size += p.size
				} else {
					got = append(got, p)
				}
			}
			if sum != n {
				t.Fatalf("%d bytes of %d", sum, n)
			}
			at += n
		}
		if len(got)+len(sp.runs) > 0 && !reflect.DeepEqual(got, sp.runs) {
			t.Fatalf("got %+v, want %+v", got, sp.runs)
		}
	})
}

// TestHole finds room beside ranges.
func TestHole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := rapid.SampledFrom([]uint64{0, holeLow, holeFrom - 64*pageSize, holeFrom, taskSize - 64*pageSize})
		var taken []span
		for range rapid.IntRange(0, 10).Draw(t, "ranges") {
			start := bounds.Draw(t, "base") + rapid.Uint64Range(0, 63).Draw(t, "page")*pageSize
			taken = append(taken, span{start, min(start+rapid.SampledFrom([]uint64{pageSize, 1 << 20, holeFrom, taskSize}).Draw(t, "size"), taskSize)})
		}
		size := rapid.SampledFrom([]uint64{pageSize, 1 << 20, 1 << 40, taskSize}).Draw(t, "want")
		at, err := hole(joined(taken), size)
		if err != nil {
			return
		}
		if at%pageSize != 0 || at+size > taskSize {
			t.Fatalf("%x is no place for %x bytes", at, size)
		}
		for _, s := range taken {
			if s.overlaps(span{at, at + size}) {
				t.Fatalf("%s is in the way of %x", s, at)
			}
		}
	})
}

// TestTable cuts groups of calls into batches.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		n := uint64(0)
		for range rapid.IntRange(0, 60).Draw(t, "groups") {
			group := make([]remote.Call, rapid.IntRange(1, tableSize/2).Draw(t, "size"))
			for i := range group {
				group[i].Args[0] = n
				n++
				if i > 0 {
					group[i].From[1] = uint8(i) // The one before.
				}
			}
			tab.add(group...)
		}
		next := uint64(0)
		for _, batch := range tab.batches {
			if len(batch) > tableSize {
				t.Fatalf("a batch of %d", len(batch))
			}
			for i, c := range batch {
				if c.Args[0] != next {
					t.Fatalf("call %d is where %d should be", c.Args[0], next)
				}
				if from := int(c.From[1]); from != 0 && from != i {
					t.Fatalf("call %d of a batch takes the result of %d", i+1, from)
				}
				next++
			}
		}
		if next != n {
			t.Fatalf("%d calls of %d", next, n)
		}
	})
}
