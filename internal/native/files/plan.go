// SPDX-License-Identifier: Apache-2.0

package files

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// wanted is one descriptor that a process is to have.
type wanted struct {
	fd      int  // Its number there.
	own     int  // Crtime's own descriptor of the same file.
	cloexec bool // Closed by an exec.
}

// descriptorPlan is the calls that give a process without descriptors those it
// is to have. owner is crtime's pid.
//
// pidfd_getfd takes the lowest free number. The descriptor of crtime goes above
// all others, and they are fetched in ascending order: so where there are no
// gaps each lands at its number by itself. One that does not is moved.
func descriptorPlan(owner int, list []wanted) []remote.Call {
	list = slices.SortedFunc(slices.Values(list), func(a, b wanted) int { return cmp.Compare(a.fd, b.fd) })
	above := 1
	if len(list) > 0 {
		above = max(above, list[len(list)-1].fd+1)
	}
	p := &planner{pidfd: above}
	p.must("open the restorer", unix.SYS_PIDFD_OPEN, uint64(owner), 0)
	p.must("move the restorer's descriptor away", unix.SYS_DUP3, 0, uint64(above), unix.O_CLOEXEC)
	p.must("close the restorer's first descriptor", unix.SYS_CLOSE, 0)
	for _, w := range list {
		p.fetch(w)
	}
	p.must("close the restorer's descriptor", unix.SYS_CLOSE, uint64(above))
	return p.calls
}

// planner builds a list of calls and follows which descriptor is free.
type planner struct {
	calls []remote.Call
	pidfd int // The process's descriptor of crtime.
	free  int // The lowest number that is free.
}

// must adds a call that has to succeed. What it returns is valid until the next.
func (p *planner) must(name string, nr uintptr, args ...uint64) *remote.Call {
	c := remote.Call{Name: name, Nr: nr, Must: true}
	copy(c.Args[:], args)
	p.calls = append(p.calls, c)
	return &p.calls[len(p.calls)-1]
}

// fetch adds the calls for one descriptor. No number below it is wanted any more.
func (p *planner) fetch(w wanted) {
	p.must(fmt.Sprintf("fetch the file of descriptor %d", w.fd), unix.SYS_PIDFD_GETFD, uint64(p.pidfd), uint64(w.own), 0)
	if w.fd == p.free {
		p.free++
		if !w.cloexec { // pidfd_getfd always sets it.
			p.must(fmt.Sprintf("keep descriptor %d over an exec", w.fd), unix.SYS_FCNTL, uint64(w.fd), unix.F_SETFD, 0)
		}
		return
	}
	var flags uint64
	if w.cloexec {
		flags = unix.O_CLOEXEC
	}
	p.must(fmt.Sprintf("put descriptor %d at its number", w.fd), unix.SYS_DUP3, uint64(p.free), uint64(w.fd), flags)
	p.must(fmt.Sprintf("close the first copy of descriptor %d", w.fd), unix.SYS_CLOSE, uint64(p.free))
}
