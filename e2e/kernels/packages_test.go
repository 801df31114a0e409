// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/kernels/vm"
	"github.com/crtime/crtime/e2e/kernels/vm/wire"
)

// suiteTime is what the tests of one package may take in an emulated machine.
const suiteTime = 15 * time.Minute

// suite is a package whose tests are run in the guests.
type suite struct {
	folder string // In the source tree.
	run    string // Pattern of the tests; "": all.
	// sources are what the tests look for in the source tree, beside testdata.
	sources []string
}

func (s suite) name() string {
	return strings.ReplaceAll(strings.TrimPrefix(s.folder, "internal/"), "/", "-")
}

// suites are the packages whose tests ask the kernel something (those of criuimg,
// which are about files, need CRIU on the machine), and the matrix of objects that
// the native engine dumps and restores.
func suites(t *testing.T) []suite {
	t.Helper()
	const form = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", form,
		"./internal/timens/...", "./internal/hostclock", "./internal/proc", "./internal/urgent", "./internal/native/...")
	cmd.Dir = theLab.root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var found []suite
	for path := range strings.FieldsSeq(string(out)) {
		s := suite{folder: strings.TrimPrefix(path, "github.com/crtime/crtime/")}
		if s.folder != "internal/native/criuimg" {
			found = append(found, s)
		}
	}
	return append(found, suite{
		folder: "e2e", run: "^TestMatrix$/./^native-native$",
		sources: []string{"go.mod", "e2e/objects", "e2e/programs"},
	})
}

// TestPackages runs the tests of packages in each kernel.
func TestPackages(t *testing.T) {
	needLab(t)
	binaries := t.TempDir()
	for _, s := range suites(t) {
		t.Run(s.name(), func(t *testing.T) {
			binary := filepath.Join(binaries, s.name()+".test")
			check(t, theLab.compile(context.Background(), []string{"go", "test", "-c", "-o", "", "./" + s.folder}, binary))
			forEachKernel(t, func(t *testing.T, m *vm.Machine) { s.runIn(t, m, binary) })
		})
	}
}

// runIn runs the test binary in a guest, in the folder of its package.
func (s suite) runIn(t *testing.T, m *vm.Machine, binary string) {
	t.Helper()
	dir := path.Join(wire.SourceDir, s.folder)
	check(t, m.SendFile(binary, dir))
	defer func() { check(t, m.Remove(wire.SourceDir)) }()
	for _, source := range append([]string{path.Join(s.folder, "testdata")}, s.sources...) {
		host := filepath.Join(theLab.root, source)
		if _, err := os.Stat(host); err == nil {
			check(t, m.SendFile(host, path.Join(wire.SourceDir, path.Dir(source))))
		}
	}
	o, err := m.Run(wire.Command{
		Argv: []string{path.Join(dir, filepath.Base(binary)), "-test.v=test2json", "-test.short", "-test.run", s.run},
		Env:  []string{"CRTIME_E2E_BINARY=" + crtime, "CRTIME_CRIU=" + theLab.criu},
		Dir:  dir, Timeout: suiteTime,
	})
	check(t, err)
	tests := parseTests(string(o.Output))
	t.Logf("%d tests in %v", len(tests)-1, o.Took.Round(10*time.Millisecond))
	explained := o.Status == 0 || slices.ContainsFunc(tests, func(g *guestTest) bool { return g.ending == "FAIL" })
	excuseTests(m.Greeting.Release, tests)
	report(t, tests)
	if o.Status < 0 || !explained {
		t.Errorf("%s\n%s\n%s", o.Words, o.Errors, tests[0].text())
	}
}

// check ends the test if err is not nil.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
