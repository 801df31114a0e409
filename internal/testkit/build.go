// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// programs are those that were compiled, by their command lines.
var programs struct {
	sync.Mutex
	dir  string // "" until there is one.
	path map[string]string
}

// Build compiles a program of the package's testdata, once, and returns its path:
// a source in C, with further flags for the compiler, or the folder of a Go
// program. [Main] removes it. No file is made by a test binary that builds
// nothing, as the workers of a fuzz target are, which are killed in the end.
func Build(t testing.TB, source string, flags ...string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	argv := []string{"go", "build"}
	if filepath.Ext(source) == ".c" {
		argv = append([]string{"cc", "-O1", "-Wall", "-pthread"}, flags...)
	}
	argv = append(argv, "./testdata/"+source)
	key := strings.Join(argv, " ")
	if path := programs.path[key]; path != "" {
		return path
	}
	dir, err := newProgramDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, strings.TrimSuffix(source, ".c"))
	argv = append(argv[:len(argv)-1], "-o", path, argv[len(argv)-1])
	if text, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, text)
	}
	programs.path[key] = path
	return path
}

// newProgramDir makes a folder for a program, which keeps its name there: a process
// is called after it. Everybody may look in, also the programs that give up root's
// rights.
func newProgramDir() (string, error) {
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "crtime-test-")
		if err != nil {
			return "", err
		}
		programs.dir, programs.path = dir, map[string]string{}
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(programs.dir, strconv.Itoa(len(programs.path)))
	return dir, os.MkdirAll(dir, 0o755)
}

// removePrograms removes what Build made.
func removePrograms() error {
	programs.Lock()
	defer programs.Unlock()
	dir := programs.dir
	programs.dir, programs.path = "", nil
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
