// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/testkit"
)

var update = flag.Bool("update", false, "write testdata/dump anew from a dump by CRIU")

// fixture is a dump of testdata/tree.c by CRIU 4.2.1, without its pages.
const fixture = "testdata/dump"

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// startTree starts testdata/tree.c and returns when it is ready.
func startTree(t *testing.T) *exec.Cmd {
	t.Helper()
	work := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testkit.Build(t, "tree.c"), work)
	if ready := testkit.StartReady(t, cmd); ready != "ready\n" {
		t.Fatalf("the program did not become ready: %q, it said %q", ready, testkit.Said(t, cmd))
	}
	return cmd
}

// criuDump dumps a tree, which is killed by that, and returns the images.
func criuDump(t *testing.T, criu string, tree *exec.Cmd) string {
	t.Helper()
	dir := testkit.DumpByCRIU(t, criu, tree.Process.Pid, "--file-locks")
	// Its pids must be free again before it can be restored.
	testkit.Kill(t, tree.Process.Pid)
	return dir
}

// rewrite loads images and writes them again, into another directory, by this
// package; the pages are copied.
func rewrite(t *testing.T, dir string) string {
	t.Helper()
	set, err := Load(&image.Images{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, set, dir)
}

// write writes a set with the pages of a directory, and returns where.
func write(t *testing.T, set *Set, pagesFrom string) string {
	t.Helper()
	st, err := image.Stage(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Discard() })
	for _, name := range imageNames(t, pagesFrom) {
		if k, _ := kindOf(name); k == &kindPages {
			copyFile(t, filepath.Join(pagesFrom, name), filepath.Join(st.Path(), name))
		}
	}
	if err := set.Write(st); err != nil {
		t.Fatal(err)
	}
	return st.Path()
}

// imageNames lists the images of a directory.
func imageNames(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no images in %s: %v", dir, err)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

// copyFile copies a file, holes and all.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// loadFixture returns a directory with the fixture, its pages made up.
func loadFixture(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range imageNames(t, fixture) {
		copyFile(t, filepath.Join(fixture, name), filepath.Join(dir, name))
	}
	x := newParts(directory(dir))
	if _, err := x.readDir(); err != nil {
		t.Fatal(err)
	}
	if err := x.assemble(); err != nil {
		t.Fatal(err)
	}
	maps := make([]*Pagemap, 0, 8)
	for _, p := range x.set.Process {
		if p.Pagemap != nil {
			maps = append(maps, p.Pagemap)
		}
	}
	for _, p := range x.set.SharedMemory {
		maps = append(maps, p)
	}
	for _, p := range maps {
		makePages(t, dir, p)
	}
	return dir
}
