// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"slices"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// Survey lists the timers of running processes that could not be made again. It
// looks at /proc alone and stops nothing, so what it says may be out of date when
// it returns: Collect looks again. Processes that end meanwhile are passed over.
// Interval timers can always be saved.
func Survey(pids []int) ([]engine.Obstacle, error) {
	var out []engine.Obstacle
	for _, pid := range pids {
		found, err := surveyProcess(pid, pids)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the timers of process %d: %w", pid, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func surveyProcess(pid int, tree []int) ([]engine.Obstacle, error) {
	list, err := readTimers(pid)
	noList := errors.Is(err, errNoList)
	if err != nil && !noList {
		return nil, err
	}
	if len(list) == 0 && !noList {
		return nil, nil
	}
	stat, err := proc.ReadStat(pid)
	if err != nil {
		return nil, err
	}
	if noList {
		return []engine.Obstacle{{
			PID: pid, Comm: stat.Comm, What: "list of timers that cannot be read", Why: errNoList.Error(),
		}}, nil
	}
	o, err := ownerOf(pid, tree)
	if err != nil {
		return nil, err
	}
	var found []engine.Obstacle
	for _, t := range list {
		if why := o.objection(t); why != "" {
			found = append(found, engine.Obstacle{
				PID: pid, Comm: stat.Comm, What: fmt.Sprintf("POSIX timer (number %d)", t.id), Why: why,
			})
		}
	}
	return found, nil
}

// ownerOf looks at a process of a tree that exists.
func ownerOf(pid int, tree []int) (owner, error) {
	threads, err := proc.Threads(pid)
	if err != nil {
		return owner{}, err
	}
	o := owner{
		pid: pid, threads: make(map[int]bool, len(threads)),
		inTree: func(pid int) bool { return slices.Contains(tree, pid) },
	}
	for _, tid := range threads {
		o.threads[tid] = true
	}
	return o, nil
}
