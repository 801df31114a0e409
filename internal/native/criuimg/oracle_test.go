// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/testkit"
)

// TestCRIURestoresWhatWeWrite lets CRIU dump a tree, loads its images, writes
// them again and lets CRIU restore the tree from those.
func TestCRIURestoresWhatWeWrite(t *testing.T) {
	criu := testkit.CRIU(t)
	tree := startTree(t)
	pid := tree.Process.Pid
	images := criuDump(t, criu, tree)
	if *update {
		writeFixture(t, images)
	}
	dir := rewrite(t, images)
	sameFiles(t, dir, rewrite(t, dir))

	testkit.RunCRIU(t, criu, dir, "restore", "--restore-detached", "--file-locks")
	if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
		t.Fatalf("the restored root: %v", err)
	}
	if status := reap(t, pid); !status.Exited() || status.ExitStatus() != 0 {
		t.Errorf("the restored tree did not find everything: wait status %#x, see testdata/tree.c", status)
	}
}

// TestMixedDumps puts each file of one dump into another of the same program. Load
// finds what contradicts the other files; what does not is a consistent dump, and
// only a manifest could tell.
func TestMixedDumps(t *testing.T) {
	criu := testkit.CRIU(t)
	one := inMemory(t, criuDump(t, criu, startTree(t)))
	two := inMemory(t, criuDump(t, criu, startTree(t)))
	found, mixed := 0, 0
	for _, k := range kinds() {
		from, to := two.names(k), one.names(k)
		if len(from) != len(to) {
			t.Fatalf("%d and %d files of one kind: %v, %v", len(from), len(to), from, to)
		}
		for i := range to {
			mixed++
			err := checkLoad(t, one.with(to[i], two.MapFS[from[i]].Data))
			if err != nil {
				found++
			}
			// The pids and what refers to them are different.
			if err == nil && (k == &kindTree || k == &kindFileLock) {
				t.Errorf("%s of another dump was accepted", to[i])
			}
		}
	}
	t.Logf("%d of %d files of another dump are found out without a manifest", found, mixed)
}

// reap waits for a child, and kills its group should it hang.
func reap(t *testing.T, pid int) unix.WaitStatus {
	t.Helper()
	watchdog := time.AfterFunc(20*time.Second, func() { unix.Kill(-pid, unix.SIGKILL) })
	defer watchdog.Stop()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		switch err {
		case nil:
			return status
		case unix.EINTR:
		default:
			t.Fatalf("wait for %d: %v", pid, err)
		}
	}
}

// sameFiles compares the images of two directories byte by byte.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	names := imageNames(t, a)
	if other := imageNames(t, b); len(other) != len(names) {
		t.Errorf("%d images became %d", len(names), len(other))
	}
	for _, name := range names {
		in, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in, out) {
			t.Errorf("%s is not the same", name)
		}
	}
}

// writeFixture replaces the fixture by a dump without its pages.
func writeFixture(t *testing.T, images string) {
	t.Helper()
	if err := os.RemoveAll(fixture); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(fixture, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range imageNames(t, images) {
		if k, _ := kindOf(name); k != &kindPages {
			copyFile(t, filepath.Join(images, name), filepath.Join(fixture, name))
		}
	}
}

// TestFixture reads what CRIU wrote and finds in it what the program had.
func TestFixture(t *testing.T) {
	dir := loadFixture(t)
	s, err := Load(&image.Images{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.Tree); got != 3 {
		t.Fatalf("got %d processes, want the root, a child and a zombie", got)
	}
	pids := s.PIDs()
	root, child, zombie := s.Process[pids[0]], s.Process[pids[1]], s.Process[pids[2]]
	if got := len(root.TIDs(pids[0])); got != 3 {
		t.Errorf("the root has %d threads, want 3", got)
	}
	if child.Zombie() || !zombie.Zombie() || zombie.Core.GetTc().GetExitCode() != 42<<8 {
		t.Errorf("the second should live and the third be a zombie of status 42, got %v and %v", child.Core.GetTc(), zombie.Core.GetTc())
	}
	if got := string(s.PipeData[0].Data) + ", " + string(s.FIFOData[0].Data); got != "in the pipe, in the fifo" {
		t.Errorf("got %q from the pipe and the FIFO", got)
	}
	if got := string(s.SocketQueue[0].Data) + ", " + string(s.SocketQueue[1].Data); got != "first, second" {
		t.Errorf("got packets %q", got)
	}
	if len(s.SharedMemory) != 2 || len(s.Memfd) != 2 || len(s.FileLock) != 1 {
		t.Errorf("got %d segments, %d memfds, %d locks, want 2, 2, 1", len(s.SharedMemory), len(s.Memfd), len(s.FileLock))
	}
	for id, p := range s.SharedMemory {
		if len(p.Entries) != 1 || p.Pages() != 1 || p.Entries[0].GetVaddr() != pageSize() || p.Entries[0].GetFlags() != PagePresent {
			t.Errorf("shared memory %d has %v, want its second page", id, p.Entries)
		}
	}
	if again := write(t, s, dir); again != "" {
		sameFiles(t, again, rewrite(t, again))
	}
}

// TestFixtureGhosts reads the deleted files: one whole, one with a hole.
func TestFixtureGhosts(t *testing.T) {
	dir := rewrite(t, loadFixture(t)) // What we wrote must read the same.
	s, err := Load(&image.Images{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint32][]byte{1: []byte("ghost"), 2: make([]byte, 64*4096+3)}
	copy(want[2], "begin")
	copy(want[2][64*4096:], "end")
	for id, content := range want {
		g := s.Ghost[id]
		if g == nil || g.Size != int64(len(content)) {
			t.Fatalf("ghost %d is %+v, want %d bytes", id, g, len(content))
		}
		got := make([]byte, len(content)+1)
		n, err := g.Content.ReadAt(got, 0)
		if n != len(content) || err == nil || !bytes.Equal(got[:n], content) {
			t.Errorf("ghost %d: read %d bytes, %v, and they are equal: %v", id, n, err, bytes.Equal(got[:n], content))
		}
		// Any part must read as the same part of the whole.
		for _, off := range []int{1, 4094, 4096, 64*4096 - 1, 64*4096 + 1} {
			if off >= len(content) {
				continue
			}
			part := make([]byte, min(3, len(content)-off))
			if _, err := g.Content.ReadAt(part, int64(off)); err != nil || !bytes.Equal(part, content[off:off+len(part)]) {
				t.Errorf("ghost %d at %d: got %q, %v, want %q", id, off, part, err, content[off:off+len(part)])
			}
		}
	}
}
