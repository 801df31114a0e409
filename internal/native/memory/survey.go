// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// Survey lists what the memory of running processes has that cannot be saved. It
// looks at /proc alone and stops nothing, so what it says may be out of date when
// it returns: Collect looks again. Processes that end meanwhile are passed over.
func Survey(pids []int) ([]engine.Obstacle, error) {
	var out []engine.Obstacle
	var inodes []uint64
	var living []int
	found := make([]surveyed, len(pids))
	known := newObjects()
	err := each(len(pids), func(i int) error { return found[i].look(pids[i], known) })
	if err != nil {
		return nil, err
	}
	for i, s := range found {
		if s.living {
			living = append(living, pids[i])
		}
		out = append(out, s.obstacles...)
		inodes = append(inodes, s.inodes...)
	}
	slices.Sort(inodes)
	for _, look := range []func() ([]engine.Obstacle, error){
		func() ([]engine.Obstacle, error) { return sharedSpaces(living) },
		func() ([]engine.Obstacle, error) { return outsiders(slices.Compact(inodes), living) },
	} {
		more, err := look()
		if err != nil && !errors.Is(err, proc.ErrGone) {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// vanished says that a file was mapped, and that the mapping was gone or another one
// when the kernel was asked for the file.
func (r region) vanished() bool {
	return r.File() && r.link == "" && strings.HasPrefix(r.Path, "/")
}

// surveyed is what Survey finds in one process.
type surveyed struct {
	living    bool
	obstacles []engine.Obstacle
	inodes    []uint64 // Of anonymous shared memory.
}

// How often a process is looked at whose mappings change, and how long to wait
// before: one that has just been started maps its libraries.
const (
	mostLooks = 5
	lookPause = 2 * time.Millisecond
)

// look looks at one process. Should something look wrong, it looks again, and
// believes nobody, because a mapping may have gone away while the first look lasted.
func (s *surveyed) look(pid int, known *objects) error {
	regions, err := known.readRegions(pid)
	if err == nil && len(regionObstacles(pid, regions)) > 0 {
		regions, err = readRegions(pid)
	}
	for looks := 2; err == nil && looks < mostLooks && slices.ContainsFunc(regions, region.vanished); looks++ {
		time.Sleep(lookPause << looks)
		regions, err = readRegions(pid)
	}
	if errors.Is(err, proc.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the memory of process %d: %w", pid, err)
	}
	s.living, s.obstacles = true, regionObstacles(pid, regions)
	for _, r := range regions {
		if r.sharedAnonymous() {
			s.inodes = append(s.inodes, r.Inode)
		}
	}
	return nil
}
