// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/testkit"
)

// criuDump has CRIU dump the tree, which then runs on.
func (h *holder) criuDump(t *testing.T, criu string) *dumped {
	t.Helper()
	s, dir := nativetest.DumpByCRIU(t, criu, h.pids[0], "--leave-running")
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &dumped{set: s, dir: d}
}

// TestImagesLikeCRIUs compares the images of memory with those that CRIU makes
// of the same processes.
func TestImagesLikeCRIUs(t *testing.T) {
	criu := testkit.CRIU(t)
	for mode, processes := range map[string]int{"anonymous files shared marks guards": 1, "family": 4} {
		t.Run(mode, func(t *testing.T) {
			h := hold(t, processes, mode)
			ours, theirs := h.dump().set, h.criuDump(t, criu).set
			for _, pid := range h.pids {
				a, b := ours.Process[uint32(pid)], theirs.Process[uint32(pid)]
				sameLines(t, fmt.Sprintf("mm-%d.img", pid), describeMM(ours, a.MM), describeMM(theirs, b.MM))
				sameLines(t, fmt.Sprintf("pagemap-%d.img", pid), describePages(a.Pagemap), describePages(withoutParasite(a.MM, a.Pagemap, b.Pagemap)))
			}
			if len(ours.SharedMemory) != len(theirs.SharedMemory) {
				t.Errorf("got %d shared objects, CRIU has %d", len(ours.SharedMemory), len(theirs.SharedMemory))
			}
			for id, m := range theirs.SharedMemory {
				if ours.SharedMemory[id] == nil {
					t.Errorf("there is no shared object %d", id)
					continue
				}
				sameLines(t, fmt.Sprintf("pagemap-shmem-%d.img", id), describePages(ours.SharedMemory[id]), describePages(m))
			}
		})
	}
}

func sameLines(t *testing.T, what string, ours, theirs []string) {
	t.Helper()
	if d := difference(ours, theirs); d != "" {
		t.Errorf("%s, - ours, + CRIU's:\n%s", what, d)
	}
}

// describeMM writes an mm image down without the numbers that each engine makes
// up.
func describeMM(s *criuimg.Set, m *mm.MmEntry) []string {
	var out []string
	for _, e := range m.GetVmas() {
		file := ""
		if anonymousAsMemfd(s, e) {
			e = proto.CloneOf(e)
			e.Status = proto.Uint32(statusRegular | statusAnonShared)
			e.Flags = proto.Uint32(e.GetFlags() | unix.MAP_ANONYMOUS)
			e.Shmid = proto.Uint64(0)
		}
		switch {
		case e.GetStatus()&statusAnonShared != 0: // Numbers of inodes.
		case mapsFile(e):
			for _, f := range s.Files {
				if uint64(f.GetId()) == e.GetShmid() {
					file = fmt.Sprint(f.GetType(), f.GetReg().GetName())
				}
			}
		default:
			file = fmt.Sprint(e.GetShmid())
		}
		out = append(out, fmt.Sprintf("%x-%x pgoff %x prot %d flags %x status %x madv %x fdflags %o of %s",
			e.GetStart(), e.GetEnd(), e.GetPgoff(), e.GetProt(), e.GetFlags()&^lockOnFault, e.GetStatus(), e.GetMadv(), fdflags(e), file))
	}
	return append(out, fmt.Sprintf("code %x-%x data %x-%x heap %x-%x stack %x args %x-%x environment %x-%x auxv %x dumpable %d thp disabled %v",
		m.GetMmStartCode(), m.GetMmEndCode(), m.GetMmStartData(), m.GetMmEndData(), m.GetMmStartBrk(), m.GetMmBrk(), m.GetMmStartStack(),
		m.GetMmArgStart(), m.GetMmArgEnd(), m.GetMmEnvStart(), m.GetMmEnvEnd(), trim(m.GetMmSavedAuxv()), m.GetDumpable(), m.GetThpDisabled()))
}

// anonymousAsMemfd says that a mapping is of anonymous shared memory: CRIU 4.2
// takes it for a memfd, whose device it has in common.
func anonymousAsMemfd(s *criuimg.Set, e *vma.VmaEntry) bool {
	for _, f := range s.Files {
		if mapsFile(e) && uint64(f.GetId()) == e.GetShmid() && f.GetMemfd() != nil {
			for _, m := range s.Memfd {
				if uint32(m.GetInodeId()) == f.GetMemfd().GetInodeId() {
					return m.GetName() == "/dev/zero"
				}
			}
		}
	}
	return false
}

// withoutParasite takes out of CRIU's pages those that hold code and that only CRIU
// has: it read and wrote there itself.
func withoutParasite(m *mm.MmEntry, ours, theirs *criuimg.Pagemap) *criuimg.Pagemap {
	have := map[string]bool{}
	for _, line := range describePages(ours) {
		have[line] = true
	}
	code := func(at uint64) bool {
		return slices.ContainsFunc(m.GetVmas(), func(e *vma.VmaEntry) bool {
			return e.GetStart() <= at && at < e.GetEnd() && e.GetProt()&unix.PROT_EXEC != 0
		})
	}
	out := &criuimg.Pagemap{}
	for _, e := range theirs.Entries {
		for i := range uint64(e.GetNrPages()) {
			one := &criuimg.Pagemap{}
			at := e.GetVaddr() + i*pageSize
			one.Add(at, 1)
			if have[describePages(one)[0]] || !code(at) {
				out.Add(at, 1)
			}
		}
	}
	return out
}

// fdflags is how the file of a mapping is to be opened, large files or not.
func fdflags(e *vma.VmaEntry) uint32 { return e.GetFdflags() &^ unix.O_CLOEXEC &^ 0o100000 }

// trim cuts the zeros off an auxiliary vector.
func trim(words []uint64) []uint64 {
	for len(words) > 0 && words[len(words)-1] == 0 {
		words = words[:len(words)-1]
	}
	return words
}

// describePages lists single pages, since ranges may be cut in any way.
func describePages(m *criuimg.Pagemap) []string {
	var out []string
	for _, e := range m.Entries {
		for i := range uint64(e.GetNrPages()) {
			out = append(out, fmt.Sprintf("page %x", e.GetVaddr()+i*pageSize))
		}
	}
	return out
}

// TestRestoreFromCRIU rebuilds memory from images that CRIU has made.
func TestRestoreFromCRIU(t *testing.T) {
	criu := testkit.CRIU(t)
	for mode, processes := range map[string]int{"anonymous files shared guards": 1, "family": 4} {
		t.Run(mode, func(t *testing.T) {
			h := hold(t, processes, mode)
			d := h.criuDump(t, criu)
			before := paintAll(t, h.pids...)
			pids, parents := h.pids, h.parents
			h.end()
			err := d.restored(t, pids, parents, func(_ *Rebuild, stubs map[int]*remote.Stub) error {
				for _, pid := range pids {
					after := paint(t, pid, areaOf(stubs[pid]))
					sameLines(t, fmt.Sprint("process ", pid), likeCRIU(before[pid].lines), likeCRIU(after.lines))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// likeCRIU takes out of a picture what a dump by CRIU changes: it writes into the
// program's code, and takes anonymous shared memory for a memfd.
func likeCRIU(lines []string) []string {
	var out []string
	for _, line := range lines {
		if strings.Contains(line, " r-xp ") {
			line = strings.Replace(line, " ac ", " ", 1)
		}
		out = append(out, strings.Replace(line, "/memfd:/dev/zero", "/dev/zero", 1))
	}
	return out
}
