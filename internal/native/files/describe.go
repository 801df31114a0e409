// SPDX-License-Identifier: Apache-2.0

package files

import (
	"slices"

	"github.com/crtime/crtime/internal/native/parallel"
)

// describe looks at all that the processes of the tree have open, on all cores:
// their descriptors and the directories and program they refer to. A zombie has
// nothing. What fails, each process for itself, is returned in the order of t.pids.
func (t *tree) describe() []error {
	failed := make([]error, len(t.pids))
	lists := make([][]int, len(t.pids))
	parallel.Each(len(t.pids), func(i int) { lists[i], failed[i] = listDescriptors(t.pids[i]) })
	// Descriptors in portions, so that one process with many keeps all cores busy.
	type portion struct {
		process int // Index in t.pids.
		fds     []int
		ds      []*descriptor
		stat    terminalStat // If fds is nil.
		err     error
	}
	const size = 64
	var work []*portion
	for i, fds := range lists {
		if failed[i] != nil {
			continue
		}
		work = append(work, &portion{process: i})
		for fds := range slices.Chunk(fds, size) {
			work = append(work, &portion{process: i, fds: fds})
		}
	}
	parallel.Each(len(work), func(i int) {
		w := work[i]
		if w.fds == nil {
			if w.stat, w.err = readTerminalStat(t.pids[w.process]); w.err == nil {
				w.ds, w.err = t.surroundings(t.pids[w.process])
			}
			return
		}
		w.ds, w.err = t.descriptorsOf(t.pids[w.process], w.fds)
	})
	t.described = make(map[int][]*descriptor, len(t.pids))
	t.stats = make(map[int]terminalStat, len(t.pids))
	for _, w := range work {
		pid := t.pids[w.process]
		t.described[pid] = append(t.described[pid], w.ds...)
		if w.fds == nil {
			t.stats[pid] = w.stat
		}
		if failed[w.process] == nil {
			failed[w.process] = w.err
		}
	}
	return failed
}

// surroundings looks at the directories and program of a process.
func (t *tree) surroundings(pid int) ([]*descriptor, error) {
	var ds []*descriptor
	for _, name := range []string{"cwd", "root", "exe"} {
		d, err := t.readLink(pid, name)
		if gone(err) {
			continue // A zombie, or a kernel thread.
		}
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// descriptorsOf looks at some descriptors of a process.
func (t *tree) descriptorsOf(pid int, fds []int) ([]*descriptor, error) {
	p, err := openProcess(pid)
	if err != nil {
		return nil, err
	}
	defer p.close()
	ds := make([]*descriptor, 0, len(fds))
	for _, fd := range fds {
		d, err := t.descriptorOf(p, fd)
		if gone(err) {
			continue // Closed in between.
		}
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, nil
}
