// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"strings"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// surveyCgroups names threads that are in other control groups than the tree's root:
// all of a restored tree is in those of crtime, and limits that held for a part of it
// hold for it no more. That the root itself may come back in another group is left to
// whoever chooses the one in which crtime is started.
func surveyCgroups(pids []int, o engine.Options) ([]engine.Obstacle, error) {
	if o.ManageCgroups != "" {
		return nil, nil // The user said that they do not matter: see optionObstacles.
	}
	var found []engine.Obstacle
	var root string
	for _, pid := range pids {
		threads, err := proc.Threads(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, tid := range threads {
			groups, err := cgroupsOf(pid, tid)
			if errors.Is(err, proc.ErrGone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if root == "" {
				root = groups
			}
			if groups != root {
				found = append(found, cgroupObstacle(pid, tid, groups, root))
				break // One for a process is enough.
			}
		}
	}
	return found, nil
}

// cgroupsOf reads the control groups of a thread, one line for each hierarchy. A
// kernel without them says nothing.
func cgroupsOf(pid, tid int) (string, error) {
	text, err := proc.ReadFile(fmt.Sprintf("/proc/%d/task/%d/cgroup", pid, tid))
	return string(text), err
}

// cgroupObstacle explains the first difference.
func cgroupObstacle(pid, tid int, groups, root string) engine.Obstacle {
	first := ""
	for line := range strings.Lines(groups) {
		if !strings.Contains(root, line) {
			// The number of the hierarchy, its controllers, the group.
			if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 {
				first = fields[2]
			}
			break
		}
	}
	o := engine.Obstacle{
		PID: pid, Comm: comm(pid), What: "control group other than that of the tree's root (" + first + ")",
		Why: "all of a restored tree is in crtime's own; --manage-cgroups ignore says that this does not matter, --engine criu with another value saves them",
	}
	if tid != pid {
		o.What += fmt.Sprintf(" (thread %d)", tid)
	}
	return o
}
