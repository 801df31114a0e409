// SPDX-License-Identifier: Apache-2.0

package files

import (
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// description is an open file description that has its id, with one descriptor
// that leads to it.
type description struct {
	id      uint32
	kind    fdinfo.FdTypes
	pid, fd int
}

// descriptions finds out which descriptors share a description. kcmp gives the
// kernel's order of them, by which each list is sorted; only those that look
// alike are compared. So 10,000 distinct eventfds, which all have the same
// inode, cost 10,000 * 14 comparisons and not their square.
type descriptions map[looks][]*description

// looks is what two descriptors of the same description have in common for
// certain, as long as their processes stand still.
type looks struct {
	dev, ino uint64
	pos      int64
	flags    uint32
}

// place is where a new description belongs.
type place struct {
	looks looks
	index int
}

// find returns the description that a descriptor shares with an earlier one, or
// else where to insert it.
func (s descriptions) find(d *descriptor) (*description, place, error) {
	at := place{looks: looks{
		dev: d.stat.Dev, ino: d.stat.Ino,
		pos: d.info.pos, flags: d.info.flags &^ unix.O_CLOEXEC,
	}}
	var failed error
	index, found := slices.BinarySearchFunc(s[at.looks], d, func(known *description, d *descriptor) int {
		order, err := kcmp(kcmpFile, ofTask{known.pid, known.fd}, ofTask{d.pid, d.fd})
		if err != nil {
			failed = err
		}
		return order
	})
	if failed != nil {
		return nil, at, failed
	}
	at.index = index
	if found {
		return s[at.looks][index], at, nil
	}
	return nil, at, nil
}

// insert adds a description at the place that find returned for it.
func (s descriptions) insert(at place, d *description) {
	s[at.looks] = slices.Insert(s[at.looks], at.index, d)
}
