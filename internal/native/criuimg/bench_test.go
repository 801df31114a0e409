// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"os"
	"path/filepath"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// manyProcesses writes a dump in which the child of the fixture exists count times.
func manyProcesses(t testing.TB, count int) string {
	t.Helper()
	s, err := load(directory(loadFixture(t)))
	if err != nil {
		t.Fatal(err)
	}
	pids := s.PIDs()
	original, entry := s.Process[pids[1]], s.Tree[1]
	for i := range uint32(count) {
		pid := 100_000 + i
		e := proto.CloneOf(entry)
		e.Pid, e.Threads = &pid, []uint32{pid}
		s.Tree = append(s.Tree, e)
		own := 1000 + i
		ids := proto.CloneOf(original.IDs)
		ids.VmId, ids.FilesId, ids.FsId, ids.SighandId = &own, &own, &own, &own
		s.Process[pid] = &Process{
			Core: proto.CloneOf(original.Core), IDs: ids, MM: proto.CloneOf(original.MM), FS: proto.CloneOf(original.FS),
			Fdinfo: original.Fdinfo, Pagemap: &Pagemap{PagesID: own, Entries: original.Pagemap.Entries},
			Threads: map[uint32]*criu_core.CoreEntry{},
		}
	}
	dir := filepath.Join(t.TempDir(), "images")
	st, err := image.Stage(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Process {
		if p.Pagemap != nil {
			makePages(t, st.Path(), p.Pagemap)
		}
	}
	for _, p := range s.SharedMemory {
		makePages(t, st.Path(), p)
	}
	if err := s.Write(st); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Discard() })
	return st.Path()
}

// makePages makes the pages of a pagemap up, as a hole.
func makePages(t testing.TB, dir string, p *Pagemap) {
	t.Helper()
	name := filepath.Join(dir, kindPages.name(uint64(p.PagesID)))
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, int64(p.Pages()*pageSize())); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkLoad reads the images of a small tree and of one of a hundred.
func BenchmarkLoad(b *testing.B) {
	for name, dir := range map[string]string{"small": loadFixture(b), "hundred": manyProcesses(b, 100)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load(&image.Images{Dir: dir}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWrite writes the images of a tree of a hundred processes.
func BenchmarkWrite(b *testing.B) {
	dir := manyProcesses(b, 100)
	s, err := load(directory(dir))
	if err != nil {
		b.Fatal(err)
	}
	to := onDisk(b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.encode(to); err != nil {
			b.Fatal(err)
		}
	}
}
