// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// ways are the ways of kernels of several ages to list pages; all of them work on
// a new one.
var ways = []struct {
	name            string
	noScan, noGuard bool
}{
	{"scan", false, false},
	{"scan without guards", false, true},
	{"entries", true, true},
}

// each runs a test in every way.
func each(t *testing.T, f func(t *testing.T, p *Pagemap)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { f(t, openOwn(t, way.noScan, way.noGuard)) })
	}
}

// openOwn opens the pagemap of this process.
func openOwn(t testing.TB, noScan, noGuard bool) *Pagemap {
	t.Helper()
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.noScan, p.noGuard = noScan, noGuard
	return p
}

var page = os.Getpagesize()

// mapped is memory that is not Go's.
func mapped(t testing.TB, pages, flags int, f *os.File) []byte {
	t.Helper()
	fd := -1
	if f != nil {
		fd = int(f.Fd())
	}
	m, err := unix.Mmap(fd, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	return m
}

const anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS

// file is a file of so many pages.
func file(t testing.TB, pages int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(slices.Repeat([]byte("contents"), pages*page/8)); err != nil {
		t.Fatal(err)
	}
	return f
}

// numbers turns what is listed into numbers of pages of m. Ranges must rise and
// not touch.
func numbers(t testing.TB, m []byte, seq iter.Seq2[Range, error]) []int {
	t.Helper()
	list := []int{}
	var last uint64
	for r, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() == 0 || r.Start < last || r.Start == last && last > address(m) {
			t.Fatalf("%x-%x comes behind %x", r.Start, r.End, last)
		}
		for at := r.Start; at < r.End; at += uint64(page) {
			list = append(list, int(at-address(m))/page)
		}
		last = r.End
	}
	return list
}

func populated(t testing.TB, p *Pagemap, m []byte) []int {
	t.Helper()
	return numbers(t, m, p.Populated(address(m), address(m)+uint64(len(m))))
}

func guards(t testing.TB, p *Pagemap, m []byte) []int {
	t.Helper()
	return numbers(t, m, p.Guards(address(m), address(m)+uint64(len(m))))
}

func wantPages(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got pages %v, want %v", what, got, want)
	}
}

// sum reads pages of memory.
func sum(m []byte, pages ...int) (n int) {
	for _, i := range pages {
		n += int(m[i*page])
	}
	return n
}

func TestPopulatedAnonymous(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		m := mapped(t, 16, anonymous, nil)
		wantPages(t, "fresh", populated(t, p, m))
		if sum(m, 1, 5, 6) != 0 {
			t.Fatal("fresh memory is not zero")
		}
		var read []int
		if testkit.ReadsFillMemory(t) {
			read = []int{1, 5, 6}
		}
		and := func(more ...int) []int { return slices.Sorted(slices.Values(append(more, read...))) }
		wantPages(t, "only read", populated(t, p, m), read...)
		m[2*page], m[3*page+1], m[15*page] = 1, 0, 1
		wantPages(t, "written", populated(t, p, m), and(2, 3, 15)...)
		if err := unix.Mprotect(m, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		wantPages(t, "forbidden", populated(t, p, m), and(2, 3, 15)...)
		if err := unix.Madvise(m[2*page:3*page], unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		wantPages(t, "dropped", populated(t, p, m), and(3, 15)...)
	})
}

func TestPopulatedFile(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		f := file(t, 8)
		m := mapped(t, 8, unix.MAP_PRIVATE, f)
		shared := mapped(t, 8, unix.MAP_SHARED, f)
		if sum(m, 0, 1, 2) == 0 {
			t.Fatal("the file is empty")
		}
		wantPages(t, "read", populated(t, p, m))
		m[2*page], m[7*page] = 1, 1
		shared[4*page] = 1
		wantPages(t, "changed", populated(t, p, m), 2, 7)
		wantPages(t, "shared", populated(t, p, shared))
		anon := mapped(t, 2, unix.MAP_SHARED|unix.MAP_ANONYMOUS, nil)
		anon[0] = 1
		wantPages(t, "shared anonymous", populated(t, p, anon))
	})
}

func TestGuards(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		m := mapped(t, 8, anonymous, nil)
		m[0], m[3*page], m[4*page], m[7*page] = 1, 1, 1, 1
		for _, r := range [][2]int{{1, 2}, {4, 6}} {
			if err := unix.Madvise(m[r[0]*page:r[1]*page], unix.MADV_GUARD_INSTALL); err != nil {
				t.Fatalf("install guards: %v", err)
			}
		}
		wantPages(t, "populated", populated(t, p, m), 0, 3, 7)
		if p.noScan {
			wantPages(t, "guards on a kernel that has none", guards(t, p, m))
			return
		}
		wantPages(t, "guards", guards(t, p, m), 1, 4, 5)
	})
}

// huge is memory in which a huge page has room, from its beginning on.
func huge(t *testing.T) []byte {
	t.Helper()
	const size = 2 << 20
	m := mapped(t, 2*size/page, anonymous, nil)
	m = m[(size-address(m)%size)%size:][:size]
	if err := unix.Madvise(m, unix.MADV_HUGEPAGE); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestHugePages(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		m := huge(t)
		if sum(m, 0, 3) != 0 {
			t.Fatal("fresh memory is not zero")
		}
		if !testkit.ReadsFillMemory(t) {
			wantPages(t, "only read", populated(t, p, m))
		}
		m[3*page] = 1
		got := populated(t, p, m)
		if len(got) != 1 && len(got) != len(m)/page {
			t.Errorf("got %d pages, want one or all", len(got))
		}
	})
}

// TestPagedOut pushes pages out of memory: a kernel with swap puts them there.
func TestPagedOut(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		m := mapped(t, 8, anonymous, nil)
		m[page], m[4*page] = 1, 1
		if err := unix.Madvise(m, unix.MADV_PAGEOUT); err != nil {
			t.Fatal(err)
		}
		wantPages(t, "paged out", populated(t, p, m), 1, 4)
	})
}

// TestManyPieces lists more pieces than one request returns and more entries
// than are read at once.
func TestManyPieces(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		m := mapped(t, chunk+4*regions, anonymous, nil)
		if err := unix.Madvise(m, unix.MADV_NOHUGEPAGE); err != nil {
			t.Fatal(err)
		}
		var want []int
		for i := range 2 * regions {
			at := i * 2
			if i >= regions {
				at += chunk - 3 // Over the end of a chunk.
			}
			want = append(want, at)
			m[at*page] = 1
		}
		wantPages(t, "every second page", populated(t, p, m), want...)
		next, stop := iter.Pull2(p.Populated(address(m), address(m)+uint64(len(m))))
		if r, err, ok := next(); err != nil || !ok || r.Start != address(m) {
			t.Errorf("the first is %v, %v", r, err)
		}
		stop() // To want no more is no error.
	})
}

func TestBadRanges(t *testing.T) {
	for _, bad := range [][2]uint64{{1, 4096}, {0, 4095}, {8192, 4096}} {
		n := 0
		for _, err := range openOwn(t, false, false).Populated(bad[0], bad[1]) {
			n++
			if err == nil {
				t.Errorf("%x: accepted", bad)
			}
		}
		if n != 1 {
			t.Errorf("%x: %d answers", bad, n)
		}
	}
}

func TestGone(t *testing.T) {
	pid := 1 << 22 // The kernel gives no number as large.
	if _, err := Read(pid); !errors.Is(err, proc.ErrGone) {
		t.Errorf("Read: %v", err)
	}
	if _, err := Open(pid); !errors.Is(err, proc.ErrGone) {
		t.Errorf("Open: %v", err)
	}
	for _, err := range Populated(pid, 0, 4096) {
		if !errors.Is(err, proc.ErrGone) {
			t.Errorf("Populated: %v", err)
		}
	}
}

// TestEntries looks at the bits of single pages.
func TestEntries(t *testing.T) {
	p := openOwn(t, false, false)
	m := mapped(t, 4, anonymous, nil)
	f := mapped(t, 1, unix.MAP_SHARED|unix.MAP_ANONYMOUS, nil)
	m[0], f[0] = 1, 1
	if sum(m, 1) != 0 {
		t.Fatal("fresh memory is not zero")
	}
	if err := unix.Madvise(m[2*page:3*page], unix.MADV_GUARD_INSTALL); err != nil {
		t.Fatalf("install guards: %v", err)
	}
	var e [5]Page
	if n, err := p.Pages(address(m), e[:4]); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := p.Pages(address(f), e[4:]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	describe := func(p Page) string {
		return fmt.Sprintf("present %v swapped %v file %v guard %v exclusive %v number %v",
			p.Present(), p.Swapped(), p.File(), p.Guard(), p.Exclusive(), p.PFN() != 0)
	}
	read := fmt.Sprintf("present true swapped false file false guard false exclusive %v number true", testkit.ReadsFillMemory(t))
	for i, want := range []string{
		"present true swapped false file false guard false exclusive true number true",
		read,
		"present false swapped true file false guard true exclusive false number false",
		"present false swapped false file false guard false exclusive false number false",
		"present true swapped false file true guard false exclusive true number true",
	} {
		if got := describe(e[i]); got != want {
			t.Errorf("page %d: %s, want %s", i, got, want)
		}
	}
	if n, err := p.Pages(1<<56-4096, e[:]); n > 1 || err != nil {
		t.Errorf("behind the end there are %d pages, %v", n, err)
	}
}

// world is a range of addresses and what is known of each of its pages.
type world struct {
	t     *rapid.T
	file  *os.File
	fills bool // Whether anonymous memory that is only read becomes memory.
	pages []state
}

type state struct {
	mapped, file, populated, guard, dontDump bool
	prot                                     int
}

// A world has so many pages, from an address on where the kernel maps nothing by
// itself.
const (
	worldPages = 24
	worldStart = 0x1000_0000_0000
)

// TestRandomSeries makes random changes to mappings and compares what is read of
// them with what was done.
func TestRandomSeries(t *testing.T) {
	each(t, func(t *testing.T, p *Pagemap) {
		f, fills := file(t, worldPages), testkit.ReadsFillMemory(t)
		rapid.Check(t, func(t *rapid.T) {
			w := &world{t: t, file: f, fills: fills, pages: make([]state, worldPages)}
			defer w.unmap(0, worldPages)
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				w.step()
			}
			w.compare(p)
		})
	})
}

// step makes one change.
func (w *world) step() {
	from := rapid.IntRange(0, worldPages-1).Draw(w.t, "from")
	to := rapid.IntRange(from+1, min(worldPages, from+6)).Draw(w.t, "to")
	all := func(f func(s state) bool) bool {
		return !slices.ContainsFunc(w.pages[from:to], func(s state) bool { return !f(s) })
	}
	inMap := all(func(s state) bool { return s.mapped })
	set := func(f func(s *state)) {
		for i := from; i < to; i++ {
			f(&w.pages[i])
		}
	}
	const rw = unix.PROT_READ | unix.PROT_WRITE
	switch rapid.IntRange(0, 10).Draw(w.t, "what") {
	case 0, 1:
		w.call(unix.SYS_MMAP, from, to, rw, anonymous|unix.MAP_FIXED, ^uintptr(0), 0)
		set(func(s *state) { *s = state{mapped: true, prot: rw} })
	case 2:
		w.call(unix.SYS_MMAP, from, to, rw, unix.MAP_PRIVATE|unix.MAP_FIXED, w.file.Fd(), uintptr(from*page))
		set(func(s *state) { *s = state{mapped: true, file: true, prot: rw} })
	case 3:
		w.unmap(from, to)
	case 4, 5:
		if all(func(s state) bool { return s.mapped && s.prot == rw && !s.guard }) {
			set(func(s *state) { s.populated = true })
			w.touch(from, to, unix.ProcessVMWritev)
		}
	case 6:
		if all(func(s state) bool { return s.mapped && s.prot&unix.PROT_READ != 0 && !s.guard }) {
			set(func(s *state) { s.populated = s.populated || w.fills && !s.file })
			w.touch(from, to, unix.ProcessVMReadv)
		}
	case 7:
		if prot := rapid.SampledFrom([]int{0, unix.PROT_READ, rw, unix.PROT_READ | unix.PROT_EXEC}).Draw(w.t, "prot"); inMap {
			w.call(unix.SYS_MPROTECT, from, to, uintptr(prot))
			set(func(s *state) { s.prot = prot })
		}
	case 8:
		if inMap {
			w.call(unix.SYS_MADVISE, from, to, unix.MADV_DONTNEED)
			set(func(s *state) { s.populated = false })
		}
	case 9:
		if inMap {
			w.call(unix.SYS_MADVISE, from, to, unix.MADV_GUARD_INSTALL)
			set(func(s *state) { s.populated, s.guard = false, true })
		}
	case 10:
		if inMap {
			w.call(unix.SYS_MADVISE, from, to, unix.MADV_DONTDUMP)
			w.call(unix.SYS_MADVISE, from, to, unix.MADV_GUARD_REMOVE)
			set(func(s *state) { s.dontDump, s.guard = true, false })
		}
	}
}

func (w *world) unmap(from, to int) {
	w.call(unix.SYS_MUNMAP, from, to)
	for i := from; i < to; i++ {
		w.pages[i] = state{}
	}
}

// call makes a call for a range of pages.
func (w *world) call(nr uintptr, from, to int, args ...uintptr) {
	args = append(args, 0, 0, 0, 0)
	at := uintptr(worldStart + from*page)
	if _, _, errno := unix.Syscall6(nr, at, uintptr((to-from)*page), args[0], args[1], args[2], args[3]); errno != 0 {
		w.t.Fatalf("call %d for pages %d-%d: %v", nr, from, to, errno)
	}
}

// touch reads or writes a byte of each page of a range.
func (w *world) touch(from, to int, how func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error)) {
	for i := from; i < to; i++ {
		var b [1]byte
		local := unix.Iovec{Base: &b[0]}
		local.SetLen(1)
		if _, err := how(os.Getpid(), []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(worldStart + i*page), Len: 1}}, 0); err != nil {
			w.t.Fatalf("touch page %d: %v", i, err)
		}
	}
}

// compare reads everything.
func (w *world) compare(p *Pagemap) {
	vmas, err := Read(os.Getpid())
	if err != nil {
		w.t.Fatal(err)
	}
	got := make([]state, worldPages)
	const start, end = uint64(worldStart), uint64(worldStart) + worldPages*4096
	mark := func(r Range, f func(*state)) {
		for at := max(r.Start, start); at < min(r.End, end); at += uint64(page) {
			f(&got[(at-start)/uint64(page)])
		}
	}
	for _, v := range vmas {
		mark(Range{v.Start, v.End}, func(s *state) {
			*s = state{mapped: true, file: v.File(), dontDump: v.Flags.Has(FlagDontDump), prot: int(v.Perms & 7)}
		})
	}
	for r, err := range p.Populated(start, end) {
		if err != nil {
			w.t.Fatal(err)
		}
		mark(r, func(s *state) { s.populated = true })
	}
	for r, err := range p.Guards(start, end) {
		if err != nil {
			w.t.Fatal(err)
		}
		mark(r, func(s *state) { s.guard = true })
	}
	for i, want := range w.pages {
		if p.noScan {
			want.guard = false
		}
		if got[i] != want {
			w.t.Errorf("page %d: got %+v, want %+v", i, got[i], want)
		}
	}
}

func BenchmarkPopulated(b *testing.B) {
	const pages = 256 << 20 / 4096
	for _, way := range ways {
		for _, sparse := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/sparse=%v", way.name, sparse), func(b *testing.B) {
				p := openOwn(b, way.noScan, way.noGuard)
				m := mapped(b, pages, anonymous, nil)
				step := 1
				if sparse {
					step = 2
				}
				for i := 0; i < pages; i += step {
					m[i*page] = 1
				}
				for b.Loop() {
					for _, err := range p.Populated(address(m), address(m)+uint64(len(m))) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		if _, err := Read(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
