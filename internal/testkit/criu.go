// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/crtime/crtime/internal/criu"
)

// CRIU returns the path of the CRIU that is the judge of images, and skips the test
// where there is none.
func CRIU(t testing.TB) string {
	t.Helper()
	binary, err := criu.Find(t.Context(), "")
	if err != nil {
		t.Skip(err)
	}
	return binary.Path
}

// DumpByCRIU has CRIU dump a tree, and returns the folder of the images.
func DumpByCRIU(t testing.TB, criu string, pid int, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	RunCRIU(t, criu, dir, append([]string{"dump", "--tree", strconv.Itoa(pid)}, flags...)...)
	return dir
}

// RunCRIU runs CRIU on a folder of images. If it fails, so does the test, with the
// end of CRIU's log.
func RunCRIU(t testing.TB, criu, dir string, args ...string) {
	t.Helper()
	const log, most = "criu.log", 3000
	args = append(args, "--images-dir", dir, "-v4", "--log-file", log)
	if text, err := exec.CommandContext(t.Context(), criu, args...).CombinedOutput(); err != nil {
		said, _ := os.ReadFile(filepath.Join(dir, log))
		t.Fatalf("criu %s: %v\n%s\n%s", args[0], err, text, said[max(0, len(said)-most):])
	}
}
