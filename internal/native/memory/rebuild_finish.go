// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"math/bits"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// Finish gives the filled memory of a process its recorded protections and
// properties, puts the vdso in place and tells the kernel what /proc and brk(2)
// are to know. Of the stub only its area is left besides.
func (r *Rebuild) Finish(pid int, stub *remote.Stub) error {
	return r.finish(pid, stub)
}

func (r *Rebuild) finish(pid int, in runner) error {
	b := r.built[pid]
	if b == nil || b.work != nil {
		return fmt.Errorf("finish the memory of process %d: it has not been mapped and filled", pid)
	}
	// In most processes all calls are made at one stop: what has to be looked at
	// in between makes those that were added until then.
	t := planFinish(b)
	if err := setPolicies(b.space, t, in); err != nil {
		return fmt.Errorf("finish the memory of process %d: %w", pid, err)
	}
	placed, err := r.placeVDSO(b.space, t, in)
	if err != nil {
		return fmt.Errorf("the vdso of process %d: %w", pid, err)
	}
	if placed.at != 0 {
		b.vdso = placed.at
	}
	lockNew(b.space.mm, t)
	d, err := r.describe(b.space, t, in)
	if err != nil {
		return fmt.Errorf("describe the memory of process %d to the kernel: %w", pid, err)
	}
	if err := t.run(in); err != nil {
		return fmt.Errorf("finish the memory of process %d: %w", pid, err)
	}
	if err := placed.check(pid); err != nil {
		return fmt.Errorf("the vdso of process %d: %w", pid, err)
	}
	if err := d.check(in); err != nil {
		return fmt.Errorf("describe the memory of process %d to the kernel: %w", pid, err)
	}
	return nil
}

// planFinish lists the calls that turn what Map made into what is recorded.
func planFinish(b *building) *table {
	t := &table{}
	for _, e := range b.space.areas {
		if b.prot[e] != e.GetProt() {
			t.add(protect(spanOf(e), e.GetProt()))
		}
	}
	// Locks follow the protection: locking what can be written gives the process
	// a copy of every page of a private file mapping.
	for _, e := range b.space.areas {
		for _, c := range adviseCalls(e) {
			t.add(c)
		}
		if e.GetFlags()&unix.MAP_LOCKED != 0 {
			for _, c := range lockCalls(e) {
				t.add(c)
			}
		}
	}
	for _, e := range b.space.areas {
		for _, c := range residentCalls(e) {
			t.add(c)
		}
	}
	for _, g := range b.space.guards {
		t.add(must("install guard pages at "+g.String(), unix.SYS_MADVISE, g.start, g.size(), unix.MADV_GUARD_INSTALL))
	}
	disabled := uint64(0)
	if b.space.mm.GetThpDisabled() {
		disabled = 1
	}
	t.add(remote.Call{
		Name: "prctl(PR_SET_THP_DISABLE)", Nr: unix.SYS_PRCTL, Must: disabled == 1,
		Args: [6]uint64{unix.PR_SET_THP_DISABLE, disabled},
	})
	return t
}

// adviseCalls repeats the madvise calls that left a mark. Bit n of the entry is
// advice n.
func adviseCalls(e *vma.VmaEntry) []remote.Call {
	var calls []remote.Call
	s := spanOf(e)
	for left := e.GetMadv(); left != 0; left &= left - 1 {
		advice := bits.TrailingZeros64(left)
		c := must(fmt.Sprintf("madvise %s %d", s, advice), unix.SYS_MADVISE, s.start, s.size(), uint64(advice))
		c.Must = hints&(1<<advice) == 0
		calls = append(calls, c)
	}
	return calls
}

// lockCalls lock an area as it was locked.
func lockCalls(e *vma.VmaEntry) []remote.Call {
	s := spanOf(e)
	now := must("lock "+s.String(), unix.SYS_MLOCK, s.start, s.size())
	later := must("lock "+s.String()+" as it is touched", unix.SYS_MLOCK2, s.start, s.size(), unix.MLOCK_ONFAULT)
	switch {
	case e.GetFlags()&lockOnFault != 0:
		return []remote.Call{later}
	case e.GetProt() == unix.PROT_NONE:
		// Pages that nobody may touch cannot be brought in, which mlock says only
		// after it has locked them: a failure that matters is seen at the first call.
		now.Must = false
		return []remote.Call{later, now}
	default:
		return []remote.Call{now}
	}
}
