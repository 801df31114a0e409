// SPDX-License-Identifier: Apache-2.0

// Package parallel does many small things on all cores, while a tree stands still.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls f with each number below n, on all cores, and returns when it has for
// all of them. f may be called on any thread, so not for what a tracer's own must do.
func Each(n int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			f(int(i))
		}
	}
	var others sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}
