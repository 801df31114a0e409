// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
	"github.com/crtime/crtime/internal/version"
)

// tick is one clock tick of /proc/PID/stat: USER_HZ is 100 on every
// architecture that crtime builds for.
const tick clockstate.Nanos = 10_000_000

// record builds the recorded state of a stopped tree.
func record(root int, f *freeze, engine string) (*clockstate.State, error) {
	host, err := hostclock.Identity()
	if err != nil {
		return nil, err
	}
	s := &clockstate.State{
		ToolVersion:  version.String(),
		Host:         host,
		Freeze:       f.reading,
		FreezeSource: f.source,
		FreezeWindow: f.window,
		RootPID:      int32(root),
		Engine:       engine,
	}
	offsets := map[uint64]clockstate.Offsets{}
	for _, task := range f.snapshot.Tasks {
		if task.Zombie {
			continue // It reads no clock any more.
		}
		p, err := recordProcess(task, f.reading.Readings, offsets)
		if err != nil {
			return nil, fmt.Errorf("record the clocks of process %d: %w", task.PID, err)
		}
		s.Processes = append(s.Processes, p)
	}
	for _, id := range slices.Sorted(maps.Keys(offsets)) {
		s.Namespaces = append(s.Namespaces, clockstate.Namespace{ID: id, Offsets: offsets[id]})
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("the recorded clocks make no sense: %w", err)
	}
	return s, nil
}

// recordProcess records one stopped process, and adds to offsets the namespaces
// that it refers to.
func recordProcess(task proc.Task, host clockstate.Readings, offsets map[uint64]clockstate.Offsets) (clockstate.Process, error) {
	st, err := proc.ReadStat(task.PID)
	if err != nil {
		return clockstate.Process{}, err
	}
	status, err := proc.ReadStatus(task.PID)
	if err != nil {
		return clockstate.Process{}, err
	}
	own, forChildren, err := timens.IDOf(task.PID)
	if err != nil {
		return clockstate.Process{}, err
	}
	if err := addNamespaces(task.PID, own, forChildren, offsets); err != nil {
		return clockstate.Process{}, err
	}
	readings, err := host.Shift(offsets[own])
	if err != nil {
		return clockstate.Process{}, err
	}
	pid := task.PID
	if n := len(status.NSPids); n > 0 {
		pid = status.NSPids[n-1]
	}
	return clockstate.Process{
		PID:                  int32(pid),
		OuterPID:             int32(task.PID),
		ParentPID:            int32(st.PPID),
		Comm:                 st.Comm,
		StartTime:            st.StartTime,
		Namespace:            own,
		NamespaceForChildren: forChildren,
		Readings:             readings,
		CPU: clockstate.CPUTime{
			User:   clockstate.Nanos(st.UTime) * tick,
			System: clockstate.Nanos(st.STime) * tick,
		},
		Threads: int32(len(task.Threads)),
	}, nil
}

// addNamespaces reads the offsets of a process's time namespaces, each once.
func addNamespaces(pid int, own, forChildren uint64, offsets map[uint64]clockstate.Offsets) error {
	if _, known := offsets[own]; !known {
		o, err := timens.OffsetsOf(pid)
		if err != nil {
			return err
		}
		offsets[own] = o
	}
	if _, known := offsets[forChildren]; !known {
		o, err := timens.ReadOffsets(pid)
		if err != nil && !errors.Is(err, timens.ErrForChildren) {
			return err
		}
		offsets[forChildren] = o
	}
	return nil
}
