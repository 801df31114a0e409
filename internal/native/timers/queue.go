// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// deadlines are the points in time at which POSIX timers that were set to one
// on REALTIME are due, in nanoseconds, of all processes together. It is the only
// place where the kernel shows whether a timer follows that clock.
type deadlines map[int64]bool

// between reports whether one is within the bounds.
func (d deadlines) between(first, last int64) bool {
	for at := range d {
		if first <= at && at <= last {
			return true
		}
	}
	return false
}

// readDeadlines reads /proc/timer_list, which only root may.
func readDeadlines() (deadlines, error) {
	f, err := os.Open("/proc/timer_list")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := parseTimerList(f)
	if err != nil {
		return nil, fmt.Errorf("/proc/timer_list: %w", err)
	}
	return d, nil
}

// realtimeQueue is the number of the queue of timers on REALTIME in timer_list,
// HRTIMER_BASE_REALTIME of the kernel. (The queues of timers that may be handled
// late have numbers of their own; no POSIX timer is in one.)
const realtimeQueue = "1"

// parseTimerList reads the text of a timer_list file. In it each queue of each
// CPU begins with a line ".index: number", and each timer has a line with the
// function that it calls and one with its time.
func parseTimerList(r io.Reader) (deadlines, error) {
	d := deadlines{}
	realtime, ours := false, false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, ".index:"):
			realtime = strings.TrimSpace(strings.TrimPrefix(line, ".index:")) == realtimeQueue
			ours = false
		case strings.HasPrefix(line, "#"):
			expires, ok := strings.CutPrefix(line, "# expires at ")
			if !ok {
				ours = strings.Contains(line, " posix_timer_fn,")
				continue
			}
			if !realtime || !ours {
				continue
			}
			text, _, _ := strings.Cut(expires, "-")
			at, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			d[at] = true
		}
	}
	return d, lines.Err()
}
