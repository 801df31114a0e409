// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// allWork is what is measured unless the user says otherwise.
const allWork = "tiny,100M,1G,64threads,100processes,500mappings,200files"

// workload is what is dumped: the ticker, made larger in one way.
type workload struct {
	name  string
	args  []string // Of the ticker.
	bytes int64    // Of memory, where that is what makes it large.
}

// parseWorkload reads a name such as "tiny", "100M" or "64threads".
func parseWorkload(name string) (workload, error) {
	if name == "tiny" {
		return workload{name: name}, nil
	}
	unit := strings.TrimLeft(name, "0123456789")
	n, err := strconv.Atoi(strings.TrimSuffix(name, unit))
	if err != nil || n < 1 {
		return workload{}, fmt.Errorf("-work: %q is neither tiny nor a number with a unit, such as 100M", name)
	}
	if unit == "G" {
		n, unit = n*1024, "M"
	}
	limits := map[string]struct {
		flag string
		most int
	}{
		"M": {"-m", 64 << 10}, "threads": {"-t", 10_000}, "processes": {"-p", 10_000},
		"mappings": {"-v", 50_000}, "files": {"-f", 100_000},
	}
	limit, ok := limits[unit]
	if !ok || n > limit.most {
		return workload{}, fmt.Errorf("-work: %q: the unit is M, G, threads, processes, mappings or files, and of them at most %d", name, limit.most)
	}
	w := workload{name: name, args: []string{limit.flag, strconv.Itoa(n)}}
	if unit == "M" {
		w.bytes = int64(n) << 20
	}
	return w, nil
}
