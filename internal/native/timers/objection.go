// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"fmt"
)

// owner is what must be known of a timer's process to judge whether the timer
// can be made again.
type owner struct {
	pid     int
	threads map[int]bool
	// inTree reports whether a process is dumped or rebuilt as well.
	inTree func(pid int) bool
}

// objection says why a timer cannot be made again in its process; "": it can.
func (o owner) objection(t posix) string {
	switch t.notify {
	case notifySignal, notifyNone, notifyThread:
	case notifyThreadID:
		if !o.threads[int(t.thread)] {
			return fmt.Sprintf("it notifies thread %d, which has ended: nobody would ever hear of it; let the program delete it", t.thread)
		}
	default:
		return fmt.Sprintf("its way to notify (%d) is unknown", t.notify)
	}
	if t.clock.wall() {
		return ""
	}
	return o.objectionToClock(t.clock)
}

// objectionToClock is for clocks that do not go on by themselves.
func (o owner) objectionToClock(c clockID) string {
	of, thread, cpu := c.cpu()
	switch {
	case !cpu:
		return fmt.Sprintf("it runs on %s, which the native engine does not know", c)
	case of == 0 && thread && len(o.threads) > 1:
		return fmt.Sprintf("it counts the CPU time of the thread that made it, and the kernel does not tell which of the %d threads that is; stop the profiler that may have made it, or let the program delete it", len(o.threads))
	case of == 0:
		return ""
	case thread && !o.threads[int(of)]:
		return fmt.Sprintf("it counts the CPU time of thread %d, which has ended; let the program delete it", of)
	case !thread && int(of) != o.pid && !o.inTree(int(of)):
		return fmt.Sprintf("it counts the CPU time of process %d, which is not of the tree", of)
	default:
		return ""
	}
}
