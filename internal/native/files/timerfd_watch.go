// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"os"
	"strconv"
)

// TimerWatch knows when the timers with a descriptor of a tree are due that fire once.
// The kernel forgets it when they do, and they do so while the tree stands still.
type TimerWatch struct {
	places []timerPlace
	due    map[timerPlace]int64 // On its timeline as crtime reads it, in nanoseconds.
}

// timerPlace is a descriptor of a timer.
type timerPlace struct{ pid, fd int }

// WatchTimers looks for the timers of processes that still run; Look then looks at
// them. What cannot be read is left out: those who save it say why.
func WatchTimers(pids []int) *TimerWatch {
	w := &TimerWatch{due: map[timerPlace]int64{}}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd/", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			link, err := os.Readlink(dir + e.Name())
			if err != nil || !(timerfdKind{}).handles(&descriptor{link: link}) {
				continue
			}
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				w.places = append(w.places, timerPlace{pid, fd})
			}
		}
	}
	return w
}

// Look notes when the timers are due; what an earlier look has noted is forgotten. It is
// for right after the freeze: what expires before it counts as expired at the freeze.
func (w *TimerWatch) Look() {
	clear(w.due)
	for _, place := range w.places {
		text, err := readFdinfo(place.pid, place.fd)
		if err != nil {
			continue
		}
		t, err := parseTimerfd(text.rest)
		if err != nil || timerLeft(t) == 0 || timerInterval(t) != 0 {
			continue
		}
		if now, err := timelineNow(t); err == nil {
			w.due[place] = saturatingAdd(now, timerLeft(t))
		}
	}
}

// deadline is when a timer was due; 0: not known.
func (w *TimerWatch) deadline(place timerPlace) int64 {
	if w == nil {
		return 0
	}
	return w.due[place]
}
