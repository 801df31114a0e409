// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"math"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/maps"
)

// pages finds the pages of all processes that are to be saved, by all cores, and
// plans their copying.
func (c *collector) pages(targets []Target) error {
	runs := make([][]run, len(targets))
	err := each(len(targets), func(i int) (err error) {
		pid := targets[i].PID
		if runs[i], err = privatePages(pid, c.set.Process[uint32(pid)]); err != nil {
			return fmt.Errorf("the memory of process %d: %w", pid, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, t := range targets {
		m := c.set.Process[uint32(t.PID)].Pagemap
		m.PagesID = c.plan.nextID()
		c.plan.add(m.PagesID, runs[i], &processContents{pid: t.PID, tracer: c.plan.tracer})
	}
	return nil
}

// privatePages finds the pages of a process that are to be saved, and the guard
// pages. p.MM must have all mappings.
func privatePages(pid int, p *criuimg.Process) ([]run, error) {
	pm, err := maps.Open(pid)
	if err != nil {
		return nil, err
	}
	defer pm.Close()
	p.Pagemap = &criuimg.Pagemap{}
	for _, e := range p.MM.Vmas {
		if err := addPages(pm, p.Pagemap, e); err != nil {
			return nil, fmt.Errorf("the pages of mapping %s: %w", spanOf(e), err)
		}
	}
	if err := addResident(pm, p); err != nil {
		return nil, err
	}
	if err := addGuards(pm, p.MM); err != nil {
		return nil, err
	}
	return runsOf(p.Pagemap.Entries)
}

// addPages lists the pages of one mapping that are to be saved.
func addPages(pm *maps.Pagemap, m *criuimg.Pagemap, e *vma.VmaEntry) error {
	switch status := e.GetStatus(); {
	case status&statusVDSO != 0:
		// Programs have its addresses in their registers and tables: should the
		// next kernel's differ, this one's code is needed.
		addRange(m, maps.Range{Start: e.GetStart(), End: e.GetEnd()})
		return nil
	case !private(e), status&(statusVsyscall|statusVVAR) != 0:
		return nil
	case e.GetFlags()&mapDroppable != 0:
		// The kernel may drop it at any time, so programs live with zeros there.
		return nil
	}
	for r, err := range pm.Populated(e.GetStart(), e.GetEnd()) {
		if err != nil {
			return err
		}
		addRange(m, r)
	}
	return nil
}

// addRange adds a range of any size to a pagemap, whose entries are limited.
func addRange(m *criuimg.Pagemap, r maps.Range) {
	const most = math.MaxUint32
	for r.Start < r.End {
		n := min(r.Size()/pageSize, most)
		m.Add(r.Start, uint32(n))
		r.Start += n * pageSize
	}
}

// addGuards appends the guard pages of a process to its mappings, behind all
// others as CRIU has them.
func addGuards(pm *maps.Pagemap, m *mm.MmEntry) error {
	for _, e := range m.Vmas {
		if e.GetStatus()&statusVsyscall != 0 {
			continue
		}
		for r, err := range pm.Guards(e.GetStart(), e.GetEnd()) {
			if err != nil {
				return fmt.Errorf("the guard pages of mapping %s: %w", spanOf(e), err)
			}
			m.Vmas = append(m.Vmas, &vma.VmaEntry{
				Start: proto.Uint64(r.Start), End: proto.Uint64(r.End), Status: proto.Uint32(statusGuard),
				Pgoff: proto.Uint64(0), Shmid: proto.Uint64(0), Prot: proto.Uint32(0), Flags: proto.Uint32(0), Fd: proto.Int64(-1),
			})
		}
	}
	return nil
}
