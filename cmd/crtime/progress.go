// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync"
	"time"
)

// Progress appears only when something takes long enough to wonder about.
const (
	progressAfter = 500 * time.Millisecond
	progressEvery = 100 * time.Millisecond
)

// showProgress shows on a terminal what is going on and for how long, on one
// line that is gone when the returned function has been called. Elsewhere, and
// with mode "never", it does nothing.
func showProgress(s *streams, mode, what string) (done func()) {
	if mode == "never" || !s.ErrTerminal {
		return func() {}
	}
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		const eraseLine = "\r\x1b[K"
		begin, drawn := time.Now(), false
		next := time.NewTimer(progressAfter)
		defer next.Stop()
		for {
			select {
			case <-next.C:
				fmt.Fprintf(s.Err, "%s%s, %.1f s", eraseLine, what, time.Since(begin).Seconds())
				drawn = true
				next.Reset(progressEvery)
			case <-stop:
				if drawn {
					fmt.Fprint(s.Err, eraseLine)
				}
				return
			}
		}
	})
	return func() {
		close(stop)
		ended.Wait()
	}
}
