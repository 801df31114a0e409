// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// cgroup makes a control group for the test and returns its directory. It is removed
// after the processes that the test has started by then.
func cgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		dir := filepath.Join(root, "crtime-test-"+strconv.Itoa(os.Getpid()))
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			err := os.Remove(dir)
			for deadline := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				if err = os.Remove(dir); errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	t.Skip("no control group can be made here")
	return ""
}

// startPair starts a process with a child, both of which do nothing.
func startPair(t *testing.T) (root, child int) {
	t.Helper()
	root = start(t, "sh", "-c", "sleep 1000 & read x <&2; wait")
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		tree, err := proc.Scan(root)
		if err != nil {
			t.Fatal(err)
		}
		if len(tree.Tasks) == 2 {
			child = tree.Tasks[1].PID
			t.Cleanup(func() { _ = unix.Kill(child, unix.SIGKILL) })
			return root, child
		}
	}
	t.Fatal("the shell starts nothing")
	return 0, 0
}

func TestSurveyCgroups(t *testing.T) {
	dir := cgroup(t)
	root, child := startPair(t)
	pids := []int{root, child}
	if found, err := surveyCgroups(pids, engine.Options{}); err != nil || len(found) > 0 {
		t.Errorf("in one group: got %v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(child)), 0); err != nil {
		t.Skip("a process cannot be moved here: ", err)
	}
	found, err := surveyCgroups(pids, engine.Options{})
	if err != nil || len(found) != 1 || found[0].PID != child || !strings.Contains(found[0].What, filepath.Base(dir)) {
		t.Errorf("in two groups: got %v, %v", found, err)
	}
	if found, err := surveyCgroups(pids, engine.Options{ManageCgroups: "ignore"}); err != nil || len(found) > 0 {
		t.Errorf("where they do not matter: got %v, %v", found, err)
	}
	if found, err := surveyCgroups(pids[1:], engine.Options{}); err != nil || len(found) > 0 {
		t.Errorf("a tree in another group than crtime: got %v, %v", found, err)
	}
}
