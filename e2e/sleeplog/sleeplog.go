// SPDX-License-Identifier: Apache-2.0

// Package sleeplog reads what the sleepers of e2e/programs/sleeps print when they have
// woken. The format is described there.
package sleeplog

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// End is how one sleep ended.
type End struct {
	Name         string
	Result       int
	Errno        syscall.Errno
	Late         time.Duration // By the clock that it slept on.
	Clock        int           // The number of that.
	Begun, Woken int64         // By the wall clock, in nanoseconds.
}

// Log is what the program has printed.
type Log struct {
	Ends []End
	// From and To are the ends of the longest time in which nothing ran, by the wall
	// clock; Passed is how much of it passed on MONOTONIC. In nanoseconds, and 0 as long
	// as some still sleep.
	From, To, Passed int64
}

// The lines that are there when all sleep, and when all have woken.
const (
	Ready = "ready\n"
	Done  = "done\n"
)

// Parse reads a log. A line that is none of the program's is an error that names it.
func Parse(text string) (Log, error) {
	var l Log
	for line := range strings.Lines(text) {
		var err error
		switch {
		case line == Ready, line == Done:
		case strings.HasPrefix(line, "gap "):
			_, err = fmt.Sscanf(line, "gap %d %d %d", &l.From, &l.To, &l.Passed)
		default:
			var e End
			var micros int64
			_, err = fmt.Sscanf(line, "%s %d %d %d %d %d %d", &e.Name, &e.Result, &e.Errno, &micros, &e.Clock, &e.Begun, &e.Woken)
			e.Late = time.Duration(micros) * time.Microsecond
			l.Ends = append(l.Ends, e)
		}
		if err != nil {
			return l, fmt.Errorf("the sleepers say %q: %w", line, err)
		}
	}
	return l, nil
}
