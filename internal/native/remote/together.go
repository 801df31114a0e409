// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Batch is what one process is to do.
type Batch struct {
	Runner *Runner
	Calls  []Call
}

// RunAll runs one batch in the leader of each of several processes, all at the
// same time: the processes share the processors, and crtime starts one while
// others are at work. No process may be named twice.
//
// It returns when none is at work any more, also after an error. The error joins
// those of the batches, each as Run gives it.
func RunAll(batches []Batch) error {
	all := make([]underway, 0, len(batches))
	seen := make(map[*Runner]bool, len(batches))
	for _, b := range batches {
		if seen[b.Runner] {
			return fmt.Errorf("run calls in process %d: it is named twice", b.Runner.pid)
		}
		seen[b.Runner] = true
		if err := b.Runner.prepare(b.Calls); err != nil {
			return err
		}
		if len(b.Calls) > 0 {
			all = append(all, underway{Batch: b})
		}
	}
	for left := len(all); left > 0; {
		for i := range all {
			all[i].begin()
		}
		left = 0
		for i := range all {
			if !all[i].finish() {
				left++
			}
		}
	}
	errs := make([]error, len(all))
	for i := range all {
		errs[i] = verdict(all[i].thread(), all[i].Calls, all[i].err)
	}
	return errors.Join(errs...)
}

// underway is a batch of RunAll.
type underway struct {
	Batch

	next  int    // The first call that is not in a table yet.
	first int    // The first call of the table under way.
	table []byte // nil: none.
	done  bool
	err   error
}

func (u *underway) thread() *ptrace.Thread { return u.Runner.leader }

// begin starts the next table.
func (u *underway) begin() {
	switch {
	case u.done:
	case u.Runner.signalFor(u.thread()) == 0:
		// Nothing would end a table: the calls are made one by one.
		u.err = u.Runner.batches(u.thread(), u.Calls)
		u.done = true
	default:
		u.first, u.next = u.next, min(u.next+tableCalls, len(u.Calls))
		u.table, u.err = u.Runner.begin(u.thread(), u.Calls, u.first, u.next)
		u.done = u.err != nil
	}
}

// finish waits for the table and says whether it was the last one.
func (u *underway) finish() bool {
	if !u.done {
		calls := u.Calls[u.first:u.next]
		u.err = u.Runner.finish(u.thread(), u.table, calls)
		u.done = u.err != nil || u.next == len(u.Calls) || !goesOn(calls)
	}
	return u.done
}
