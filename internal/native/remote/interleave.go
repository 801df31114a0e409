// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"iter"
)

// Interleave calls f for each runner, all at the same time and all on the tracer's
// thread: whenever one call waits for a thread of its process, the next goes on. So
// the processes share the processors, and crtime starts one while others are at
// work. No runner may be named twice.
//
// f(i) uses no process but that of runners[i], and changes nothing that another
// call relies on from one use of its runner to the next. It must not lock its
// goroutine to its thread, which it is.
//
// It returns when no call is under way any more, also after an error. The error
// joins those of the calls.
func Interleave(runners []*Runner, f func(i int) error) error {
	if len(runners) == 1 {
		return f(0)
	}
	seen := make(map[*Runner]bool, len(runners))
	for _, r := range runners {
		if seen[r] {
			return fmt.Errorf("use process %d: it is named twice", r.pid)
		}
		seen[r] = true
	}
	errs := make([]error, len(runners))
	going := make([]func() (struct{}, bool), len(runners))
	for i, r := range runners {
		// The kernel takes requests of the tracer's thread alone. A coroutine runs
		// on the thread of whoever resumes it.
		next, stop := iter.Pull(func(yield func(struct{}) bool) {
			r.pause = func() { yield(struct{}{}) }
			defer func() { r.pause = nil }()
			errs[i] = f(i)
		})
		defer stop()
		going[i] = next
	}
	for len(going) > 0 {
		left := going[:0]
		for _, next := range going {
			if _, more := next(); more {
				left = append(left, next)
			}
		}
		going = left
	}
	return errors.Join(errs...)
}
