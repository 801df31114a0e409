// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/maps"
)

// Annex is memory of crtime's in a process, for the time limits of calls that are made
// again and take them from memory: what the program has given them may be constant.
// Such a call reads its limit when it begins, that is at once; yet the memory stays
// with the process, since nobody sees that moment. The next annex is the same memory.
type Annex struct {
	in   caller
	pid  int
	at   uint64 // 0: it is not there yet.
	used uint64

	detours detours
}

// annexMark is what an annex begins with, by which the next crtime knows it.
const annexMark = "crtime: limits\x00\x00"

// annexSize is room for a thousand limits.
const annexSize = 16 << 10

// NewAnnex is an annex that is looked for, or made, when it is first needed. Whoever
// needs it when no call can be made in the process any more calls Ready before.
func NewAnnex(in caller, pid int) Annex {
	return Annex{in: in, pid: pid, detours: detours{in: in, pid: pid}}
}

// Ready sees to it that the annex is there.
func (a *Annex) Ready() error {
	if a.at != 0 {
		return nil
	}
	if err := a.find(); err != nil || a.at != 0 {
		return err
	}
	// Between pages that nobody can touch: it is not to become one with a neighbour.
	const page = 4096
	b := newBatch(a.in)
	mapped := b.must("map memory for time limits").
		call(unix.SYS_MMAP, 0, annexSize+2*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0))
	if err := b.run(nil); err != nil {
		return err
	}
	at := uint64(b.calls[mapped].Ret) + page
	b = newBatch(a.in)
	b.must("make memory for time limits writable").call(unix.SYS_MPROTECT, at, annexSize, unix.PROT_READ|unix.PROT_WRITE)
	if err := b.run(nil); err != nil {
		return err
	}
	a.set(at)
	return a.in.Write(a.at, []byte(annexMark))
}

func (a *Annex) set(at uint64) { a.at, a.used = at, uint64(len(annexMark)) }

// find looks for the annex of an earlier crtime.
func (a *Annex) find() error {
	all, err := maps.Read(a.pid)
	if err != nil {
		return err
	}
	for _, m := range all {
		var mark [len(annexMark)]byte
		if m.Size() == annexSize && !m.File() && !m.Shared() && m.Perms&maps.PermWrite != 0 && a.in.Read(m.Start, mark[:]) == nil && string(mark[:]) == annexMark {
			a.set(m.Start)
			return nil
		}
	}
	return nil
}

// put stores a limit and returns its address.
func (a *Annex) put(limit []byte) (uint64, error) {
	if err := a.Ready(); err != nil {
		return 0, err
	}
	if a.used+uint64(len(limit)) > annexSize {
		return 0, fmt.Errorf("more than %d threads of process %d wait with a time limit that is in memory", annexSize/len(limit)-1, a.pid)
	}
	at := a.at + a.used
	a.used += uint64(len(limit))
	return at, a.in.Write(at, limit)
}
