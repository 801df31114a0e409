// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// readCPIO reads an archive as the kernel does: every header and every file's
// data begins at a multiple of four bytes.
func readCPIO(data []byte) (map[string]string, error) {
	found := map[string]string{}
	for at := 0; ; {
		if len(data) < at+110 || string(data[at:at+6]) != "070701" {
			return nil, fmt.Errorf("no header at %d", at)
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(data[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				return -1
			}
			return int(n)
		}
		size, length := field(6), field(11)
		name := string(data[at+110 : at+110+length-1])
		begin := (at + 110 + length + 3) &^ 3
		if name == cpioTrailer {
			return found, nil
		}
		found[name] = fmt.Sprintf("%o %s", field(1), data[begin:begin+size])
		at = (begin + size + 3) &^ 3
	}
}

func TestImageReadsBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var i Image
		want := map[string]string{"a": "40755 ", "a/b": "40755 "}
		for n, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,9}`), 1, 5, rapid.ID[string]).Draw(rt, "names") {
			text := rapid.StringN(0, 20, 40).Draw(rt, "text")
			host := filepath.Join(dir, fmt.Sprint(n))
			if err := os.WriteFile(host, []byte(text), 0o600); err != nil {
				rt.Fatal(err)
			}
			i.Add("/a/b/c"+name, host, 0o640)
			want["a/b/c"+name] = "100640 " + text
		}
		i.Link("/a/link", "b")
		want["a/link"] = "120777 b"
		var out bytes.Buffer
		if err := i.write(&cpioWriter{w: &out}); err != nil {
			rt.Fatal(err)
		}
		got, err := readCPIO(out.Bytes())
		if err != nil || len(got) != len(want) {
			rt.Fatalf("got %q, %v; want %q", got, err, want)
		}
		for name, text := range want {
			if got[name] != text {
				rt.Errorf("%s: got %q, want %q", name, got[name], text)
			}
		}
	})
}

func TestFoldersComeInOrder(t *testing.T) {
	var i Image
	i.Add("/x/y/z/file", "", 0)
	i.Add("/x/file", "", 0)
	if got := i.folders(); !slices.Equal(got, []string{"/x", "/x/y", "/x/y/z"}) {
		t.Errorf("got %q", got)
	}
}

func TestPackUnpack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(from, "top", "empty"), 0o700))
	check(os.WriteFile(filepath.Join(from, "top", "file"), []byte("text"), 0o754))
	check(os.Symlink("file", filepath.Join(from, "top", "link")))
	check(os.WriteFile(filepath.Join(from, "other"), nil, 0o600))
	files, err := wire.Pack(from, "top")
	check(err)
	files.Dir = to
	// The second time over what is there.
	check(wire.Unpack(files))
	check(os.Remove(filepath.Join(to, "top", "link")))
	check(wire.Unpack(files))
	text, err := os.ReadFile(filepath.Join(to, "top", "link"))
	check(err)
	info, err := os.Stat(filepath.Join(to, "top", "file"))
	check(err)
	empty, err := os.Stat(filepath.Join(to, "top", "empty"))
	check(err)
	if string(text) != "text" || info.Mode() != 0o754 || empty.Mode() != os.ModeDir|0o700 {
		t.Errorf("text %q, modes %v and %v", text, info.Mode(), empty.Mode())
	}
	if _, err := os.Stat(filepath.Join(to, "other")); err == nil {
		t.Error("a file that was not asked for was packed")
	}
}

func TestBuildOutput(t *testing.T) {
	for _, test := range []struct {
		argv []string
		want int
	}{
		{[]string{"cc", "-o", "x", "y.c"}, 2},
		{[]string{"cc", "y.c", "-o"}, 0},
		{[]string{"cc", "y.c"}, 0},
	} {
		if got := (wire.Build{Argv: test.argv}).Output(); got != test.want {
			t.Errorf("%q: got %d, want %d", test.argv, got, test.want)
		}
	}
}

func TestCompileStaysInTheTree(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"/", "/src/..", "/srcs", "/src/../etc"} {
		if built := compile(root, wire.Build{Dir: dir, Argv: []string{"cc", "-o", "x"}}); built.Status == 0 {
			t.Errorf("compiled in %s", dir)
		}
	}
}
