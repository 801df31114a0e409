// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
)

func TestCheck(t *testing.T) {
	parent := func(s *criuimg.Set) *criuimg.Process { return s.Process[10] }
	first := func(s *criuimg.Set) *vma.VmaEntry { return parent(s).MM.Vmas[0] }
	for _, test := range []struct {
		name   string
		change func(s *criuimg.Set)
		want   error // nil: it is fine.
	}{
		{"a family", func(*criuimg.Set) {}, nil},
		{"nothing", func(s *criuimg.Set) { *s = *criuimg.NewSet() }, nil},
		{"a zombie", func(s *criuimg.Set) { s.Process[11] = &criuimg.Process{} }, nil},
		{"no pages", func(s *criuimg.Set) { s.Process[11].Pagemap = nil }, nil},
		{"System V", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusSysVIPC) }, engine.ErrUnsupported},
		{"a socket", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusSocket) }, engine.ErrUnsupported},
		{"asynchronous I/O", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusAIORing) }, engine.ErrUnsupported},
		{"a plugin", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusPlugin) }, engine.ErrUnsupported},
		{"a shadow stack", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusShadowStack) }, engine.ErrUnsupported},
		{"huge pages", func(s *criuimg.Set) { first(s).Flags = proto.Uint32(first(s).GetFlags() | unix.MAP_HUGETLB) }, engine.ErrUnsupported},
		{"advice that drops", func(s *criuimg.Set) { first(s).Madv = proto.Uint64(1 << unix.MADV_DONTNEED) }, engine.ErrUnsupported},
		{"two kinds", func(s *criuimg.Set) { first(s).Status = proto.Uint32(first(s).GetStatus() | statusFilePrivate) }, ErrImages},
		{"no kind", func(s *criuimg.Set) { first(s).Status = proto.Uint32(statusRegular) }, ErrImages},
		{"private and shared", func(s *criuimg.Set) { first(s).Flags = proto.Uint32(unix.MAP_SHARED | unix.MAP_ANONYMOUS) }, ErrImages},
		{"anonymous of a file", func(s *criuimg.Set) { first(s).Flags = proto.Uint32(unix.MAP_PRIVATE) }, ErrImages},
		{"an unknown protection", func(s *criuimg.Set) { first(s).Prot = proto.Uint32(8) }, ErrImages},
		{"half a page", func(s *criuimg.Set) { first(s).End = proto.Uint64(first(s).GetEnd() - 1) }, ErrImages},
		{"half a page of a file", func(s *criuimg.Set) { first(s).Pgoff = proto.Uint64(1) }, ErrImages},
		{"behind all files", func(s *criuimg.Set) { first(s).Pgoff = proto.Uint64(1<<64 - pageSize) }, ErrImages},
		{"nothing mapped", func(s *criuimg.Set) { first(s).End = first(s).Start }, ErrImages},
		{"overlapping", func(s *criuimg.Set) { first(s).End = proto.Uint64(0x201 * pageSize) }, ErrImages},
		{"too high", func(s *criuimg.Set) {
			first(s).Start, first(s).End = proto.Uint64(taskSize-pageSize), proto.Uint64(taskSize+pageSize)
		}, ErrImages},
		{"a guard without memory", func(s *criuimg.Set) { g := parent(s).MM.Vmas[11]; g.End = proto.Uint64(0x120 * pageSize) }, ErrImages},
		{"pages without memory", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x50, 1}) }, ErrImages},
		{"pages beyond memory", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x10f, 2}) }, ErrImages},
		{"pages of shared memory", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x500, 1}) }, ErrImages},
		{"pages out of order", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x104, 1}, [2]uint64{0x103, 1}) }, ErrImages},
		{"pages twice", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x103, 2}, [2]uint64{0x104, 1}) }, ErrImages},
		{"too many pages", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x103, 1<<32 - 1}) }, ErrImages},
		{"no pages at all", func(s *criuimg.Set) { parent(s).Pagemap = pages(1, [2]uint64{0x103, 0}) }, ErrImages},
		{"pages elsewhere", func(s *criuimg.Set) { parent(s).Pagemap.Entries[0].Flags = proto.Uint32(criuimg.PageInParent) }, criuimg.ErrParent},
		{"pages nowhere", func(s *criuimg.Set) { parent(s).Pagemap.Entries[0].Flags = proto.Uint32(0) }, ErrImages},
		{"shared pages behind the end", func(s *criuimg.Set) { s.SharedMemory[77] = pages(1, [2]uint64{3, 2}) }, ErrImages},
		{"pages behind a memfd", func(s *criuimg.Set) { s.SharedMemory[88] = pages(1, [2]uint64{4, 1}) }, ErrImages},
		{"a memfd's number", func(s *criuimg.Set) { parent(s).MM.Vmas[3].Shmid = proto.Uint64(88) }, ErrImages},
		{"two memfds of one number", func(s *criuimg.Set) {
			s.Memfd = append(s.Memfd, s.Memfd[0])
		}, ErrImages},
		{"all addresses taken", func(s *criuimg.Set) {
			parent(s).MM.Vmas = []*vma.VmaEntry{anon(1, taskSize/pageSize-1)}
			parent(s).Pagemap = nil
		}, ErrNoHole},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := family()
			test.change(s)
			if err := Check(s); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// change is how many bytes of a fuzz input change one thing.
const change = 11

// mutate changes numbers of a set as an input says: three bytes are a message, its
// field and how, eight the number.
func mutate(s *criuimg.Set, input []byte) {
	for c := range slices.Chunk(input, change) {
		if len(c) < change {
			return
		}
		m := message(s, c[0]).ProtoReflect()
		fields := m.Descriptor().Fields()
		f := fields.Get(int(c[1]) % fields.Len())
		value := binary.LittleEndian.Uint64(c[3:])
		narrow := f.Kind() == protoreflect.Uint32Kind
		if f.IsList() || !narrow && f.Kind() != protoreflect.Uint64Kind {
			continue
		}
		switch c[2] % 4 {
		case 0: // Some pages more or less.
			value = m.Get(f).Uint() + uint64(int64(int8(c[3])))*pageSize
		case 1: // A bit more or less.
			value = m.Get(f).Uint() ^ 1<<(c[3]%64)
		case 2: // What another has.
			if o := message(s, c[3]).ProtoReflect(); o.Descriptor() == m.Descriptor() {
				value = o.Get(f).Uint()
			}
		}
		if narrow {
			m.Set(f, protoreflect.ValueOfUint32(uint32(value)))
			continue
		}
		m.Set(f, protoreflect.ValueOfUint64(value))
	}
}

// message picks one of the messages that are about memory.
func message(s *criuimg.Set, n byte) proto.Message {
	var all []proto.Message
	for _, pid := range []uint32{10, 11} {
		p := s.Process[pid]
		all = append(all, p.MM)
		for _, e := range p.MM.Vmas {
			all = append(all, e)
		}
		for _, e := range p.Pagemap.Entries {
			all = append(all, e)
		}
	}
	for _, id := range []uint64{77, 88} {
		for _, e := range s.SharedMemory[id].Entries {
			all = append(all, e)
		}
	}
	all = append(all, s.Memfd[0])
	return all[int(n)%len(all)]
}

// FuzzCheck changes a set in any way. What Check accepts can be planned, and the
// plan does nothing outside of a process's addresses.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{20, 2, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9, 5, 1, 12, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		s := family()
		mutate(s, input)
		if Check(s) != nil {
			return
		}
		at, err := Area(s, 1<<20)
		if err != nil {
			t.Fatalf("accepted, but there is no area: %v", err)
		}
		spaces, err := spacesOf(s)
		if err != nil {
			t.Fatal(err)
		}
		var up *building
		for _, sp := range spaces {
			for _, taken := range sp.taken() {
				if taken.overlaps(span{at, at + 1<<20}) {
					t.Errorf("the stub at %x is in the way of %s", at, taken)
				}
			}
			for _, parent := range []*building{nil, up} {
				up = checkPlan(t, sp, parent)
			}
		}
	})
}

// checkPlan makes the plans for one process, and looks at what they do.
func checkPlan(t *testing.T, sp *space, up *building) *building {
	t.Helper()
	m := planMap(sp, up)
	b := &building{space: sp, prot: m.prot, work: m.work}
	calls := 0
	for _, table := range []*table{&m.calls, planFinish(b)} {
		for _, batch := range table.batches {
			calls += len(batch)
			if len(batch) > tableSize {
				t.Errorf("a table of %d calls", len(batch))
			}
			for _, c := range batch {
				if c.Nr == unix.SYS_PRCTL {
					continue
				}
				if s := (span{c.Args[0], c.Args[0] + c.Args[1]}); s.empty() || s.end > taskSize {
					t.Errorf("%s is for %s", c.Name, s)
				}
			}
		}
	}
	if most := 100 * (len(sp.areas) + len(sp.guards) + len(sp.runs) + 10); calls > most {
		t.Errorf("%d calls", calls)
	}
	var last uint64
	for _, w := range m.work {
		e := sp.areaAt(w.addr)
		if e == nil || !spanOf(e).contains(span{w.addr, w.end()}) || w.addr < last {
			t.Fatalf("%+v is written behind %x", w, last)
		}
		if m.prot[e]&unix.PROT_WRITE == 0 {
			t.Errorf("%+v is written into memory of protection %d", w, m.prot[e])
		}
		last = w.end()
	}
	return b
}
