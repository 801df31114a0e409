// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/e2e/harness"
)

// cgroupDir is where programs look for control groups.
const cgroupDir = "/sys/fs/cgroup"

// unified has programs find the control groups' second version alone, as a runtime does
// on a machine of today. The kernel's hierarchy of it can be mounted on a machine that
// uses the first version, too: only without the controllers that are taken there. The
// freezer is none of these.
func unified(c *harness.Case) {
	c.Helper()
	const beside = cgroupDir + "/unified" // Where systemd mounts it beside the first version.
	var err error
	switch {
	case isUnified(c, cgroupDir):
		return
	case isUnified(c, beside):
		// A new mount would change the options of this one.
		err = unix.Mount(beside, cgroupDir, "", unix.MS_BIND, "")
	default:
		err = unix.Mount("crtime-e2e", cgroupDir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if errors.Is(err, unix.ENODEV) {
		err = fmt.Errorf("cgroup2, which this kernel has not: %w", harness.ErrMissing)
	}
	c.Need(err)
	c.Cleanup(func() { c.Check(harness.Unmount(cgroupDir)) })
}

// isUnified reports whether a folder, if it exists, is a control group of the second
// version.
func isUnified(c *harness.Case, dir string) bool {
	c.Helper()
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	if !errors.Is(err, unix.ENOENT) {
		c.Check(err)
	}
	return err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// TestContainersUnified does with the second version of control groups what
// TestContainers does with whichever the machine has.
func TestContainersUnified(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(config map[string]any)
		before func(k *container) // What is done to it while it runs.
	}{
		{"one process", nil, nil},
		{"several processes", func(config map[string]any) {
			section(config, "process")["args"] = []string{"/bin/sh", "-c", "exec >/dev/null 2>&1; sleep 1000 & /bin/ticker | tee /log/clk"}
		}, nil},
		{"a group below", nil, (*container).moveBelow},
		// A pause is no outage: CLOCK_MONOTONIC goes on in it, as it does without a dump.
		{"paused", nil, func(k *container) {
			k.must("pause", k.id)
			time.Sleep(time.Second)
		}},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			c := newCase(t)
			unified(c)
			k := newContainer(c, func(config map[string]any) {
				hostNetwork(config)
				if test.edit != nil {
					test.edit(config)
				}
			})
			k.must("run", "-d", "-b", k.bundle, k.id)
			k.log(30)
			if test.before != nil {
				test.before(k)
			}
			before := k.group()
			k.outage()
			text, err := os.ReadFile(filepath.Join(k.images, "dump.log"))
			k.Check(err)
			if !strings.Contains(string(text), "cgroup.freeze=1") {
				k.Error("by its log CRIU has not frozen a group of the second version, which is what this test is about")
			}
			if got := k.group(); got != before {
				k.Errorf("the container was in the group %s, and is in %s", before, got)
			}
			k.clocksInside()
			k.must("kill", k.id, "KILL")
		})
	}
}

// TestContainersLeftRunning has CRIU thaw a group of the second version by itself, with
// nothing restored.
func TestContainersLeftRunning(t *testing.T) {
	c := newCase(t)
	unified(c)
	k := newContainer(c, hostNetwork)
	k.must("run", "-d", "-b", k.bundle, k.id)
	k.log(30)
	k.must("checkpoint", "--leave-running", "--image-path", k.images, "--work-path", k.images, k.id)
	log := k.log(len(k.log(0).Records) + 30)
	for _, b := range log.Backward() {
		k.Error(b)
	}
	// Paused, it is left so.
	k.must("pause", k.id)
	k.must("checkpoint", "--leave-running", "--image-path", k.images, "--work-path", k.images, k.id)
	text, err := os.ReadFile(filepath.Join(cgroupDir, k.id, "cgroup.events"))
	k.Check(err)
	if !strings.Contains(string(text), "frozen 1") {
		k.Errorf("the group of a paused container after its dump:\n%s", text)
	}
	k.must("resume", k.id)
	k.log(len(k.log(0).Records) + 30)
	k.must("kill", k.id, "KILL")
}

// group is the control group of the container's first process.
func (k *container) group() string {
	k.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", k.pid()))
	k.Check(err)
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	k.Fatalf("a process in no group of the second version:\n%s", text)
	return ""
}

// moveBelow moves the container's first process into a group below the container's.
func (k *container) moveBelow() {
	k.Helper()
	below := filepath.Join(cgroupDir, k.id, "below")
	k.Check(os.Mkdir(below, 0o755))
	k.Check(os.WriteFile(filepath.Join(below, "cgroup.procs"), []byte(fmt.Sprint(k.pid())), 0))
}
