// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/remote"
)

// Target is a stopped process whose memory is to be saved.
type Target struct {
	PID    int
	Remote *remote.Runner
}

// Files numbers the files behind mappings. It is package files' Collection.
type Files interface {
	// Regular returns the id in files.img of the file that a link below
	// /proc/PID leads to, which flags say how to open. A memfd is a file too.
	Regular(pid int, procLink string, flags uint32) (uint32, error)
	// Memfds lists all memfds that were numbered so far, by Regular or because
	// a process has them open.
	// Their files stay open for reading until the Plan is closed.
	Memfds() []files.Memfd
}

// Collect describes the memory of stopped processes in the set, which must have
// an entry for each, and plans the copying of its contents. f must have been
// told of all descriptors before. The errors wrap engine.ErrUnsupported if
// something cannot be saved, and proc.ErrGone if a process was killed.
//
// Collect belongs to the tracer's thread. The Plan is to be closed.
func Collect(targets []Target, f Files, s *criuimg.Set) (*Plan, error) {
	c := &collector{files: f, set: s, plan: &Plan{tracer: make(chan tracerRead)}, ids: make(map[fileKey]uint32), shared: make(map[uint64]*sharedMemory)}
	if err := c.collect(targets); err != nil {
		return nil, errors.Join(err, c.plan.Close())
	}
	return c.plan, nil
}

// collector is one run of Collect.
type collector struct {
	files  Files
	set    *criuimg.Set
	plan   *Plan
	ids    map[fileKey]uint32
	shared map[uint64]*sharedMemory // By inode.
}

func (c *collector) collect(targets []Target) error {
	pids := make([]int, len(targets))
	for i, t := range targets {
		pids[i] = t.PID
	}
	if err := refuse(sharedSpaces(pids)); err != nil {
		return err
	}
	subjects, err := c.look(targets)
	if err != nil {
		return err
	}
	for i := range subjects {
		if err := c.process(&subjects[i]); err != nil {
			return fmt.Errorf("the memory of process %d: %w", subjects[i].PID, err)
		}
	}
	if err := c.pages(targets); err != nil {
		return err
	}
	if err := refuse(outsiders(c.sharedInodes(), pids)); err != nil {
		return err
	}
	return c.objects()
}

// subject is what is found out of one process from outside, and what it is asked.
type subject struct {
	Target
	regions []region // Without crtime's own area.
	lock    uint64   // What mlockall has set for memory to come.
	inquiry inquiry
}

// look looks at the mappings of all processes, by all cores, and asks all of them
// at once what only they can tell.
func (c *collector) look(targets []Target) ([]subject, error) {
	all := make([]subject, len(targets))
	objects := newObjects()
	err := each(len(targets), func(i int) error {
		t := targets[i]
		if err := all[i].begin(t, objects); err != nil {
			return fmt.Errorf("the memory of process %d: %w", t.PID, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	batches := make([]remote.Batch, len(all))
	for i := range all {
		calls, err := all[i].inquiry.begin(all[i].Remote, all[i].regions)
		if err != nil {
			return nil, fmt.Errorf("the memory of process %d: %w", all[i].PID, err)
		}
		batches[i] = remote.Batch{Runner: all[i].Remote, Calls: calls}
	}
	return all, remote.RunAll(batches)
}

// begin looks at the mappings of a process.
func (s *subject) begin(t Target, o *objects) error {
	s.Target = t
	regions, err := o.readRegions(t.PID)
	if err != nil {
		return err
	}
	if obstacles := regionObstacles(t.PID, regions); len(obstacles) > 0 {
		return refuse(obstacles, nil)
	}
	own := areaOf(t.Remote)
	s.lock = lockOfNew(regions, own)
	s.regions = cutOut(regions, own)
	return nil
}

// process collects one process, but for its pages.
func (c *collector) process(s *subject) error {
	defer s.Remote.Reset()
	p := c.set.Process[uint32(s.PID)]
	if p == nil {
		return errors.New("the set of images has no entry for it")
	}
	var err error
	if p.MM, err = describe(s.PID); err != nil {
		return err
	}
	if err := s.inquiry.answer(p.MM); err != nil {
		return err
	}
	if s.lock != 0 {
		extra.Set(p.MM, fieldLockNew, s.lock)
	}
	if p.MM.ExeFileId, err = c.program(s.PID); err != nil {
		return err
	}
	return c.addRegions(s, p.MM)
}

// addRegions appends the entries of a process's mappings to its mm image.
func (c *collector) addRegions(s *subject, m *mm.MmEntry) error {
	policies, err := s.inquiry.policies(s.Remote, s.regions)
	if err != nil {
		return err
	}
	for _, r := range s.regions {
		if err := c.addRegion(s.PID, m, r); err != nil {
			return fmt.Errorf("mapping %s: %w", r, err)
		}
		if p, ok := policies[r.Start]; ok {
			extra.SetBytes(m.Vmas[len(m.Vmas)-1], fieldPolicy, p.Encode())
		}
	}
	return nil
}

// areaOf is crtime's own memory in a process.
func areaOf(r interface{ Area() (start, end uint64) }) span {
	start, end := r.Area()
	return span{start, end}
}
