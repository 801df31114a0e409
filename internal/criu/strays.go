// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/crtime/crtime/internal/proc"
)

// strays lists processes that end with a tree without being part of it: the tree's root is
// the first process of a pid namespace, and they live there, but were started from outside
// (as by `runc exec`). CRIU does not see them. What cannot be looked at is left out: it is
// for a warning.
func strays(root int) []string {
	status, err := proc.ReadStatus(root)
	if err != nil || len(status.NSPids) < 2 || status.NSPids[len(status.NSPids)-1] != 1 {
		return nil
	}
	tree, err := proc.Scan(root)
	if err != nil {
		return nil
	}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", root))
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []string
	inside := tree.PIDs()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || slices.Contains(inside, pid) {
			continue
		}
		if s, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err != nil || s != space {
			continue
		}
		if st, err := proc.ReadStat(pid); err == nil && st.State != proc.Zombie {
			found = append(found, fmt.Sprintf("%d (%s)", pid, st.Comm))
		}
	}
	return found
}
