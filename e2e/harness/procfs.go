// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procStat is what the harness reads of /proc/PID/stat.
type procStat struct {
	pid, parent, session int
	comm                 string
	state                byte
}

// zombie reports whether the process has ended but was not waited for.
func (s procStat) zombie() bool { return s.state == 'Z' || s.state == 'X' }

func (s procStat) String() string { return fmt.Sprintf("%d (%s, %c)", s.pid, s.comm, s.state) }

// readStat returns false for a process that does not exist.
func readStat(pid int) (procStat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, false
	}
	text := string(data)
	// The name is in parentheses and may itself hold any of them, and spaces.
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return procStat{}, false
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 4 {
		return procStat{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	if err1 != nil || err2 != nil {
		return procStat{}, false
	}
	return procStat{pid, parent, session, text[begin+1 : end], fields[0][0]}, true
}

// allProcesses lists every process of the machine.
func allProcesses() []procStat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []procStat
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok {
			found = append(found, s)
		}
	}
	return found
}

// Descendants lists the processes below this one, parents first, zombies included.
func Descendants() []int { return descendants(os.Getpid()) }

// descendants lists the processes below root, parents first, zombies included.
func descendants(root int) []int {
	children := map[int][]int{}
	for _, s := range allProcesses() {
		children[s.parent] = append(children[s.parent], s.pid)
	}
	var found []int
	for next := children[root]; len(next) > 0; {
		pid := next[0]
		next = append(next[1:], children[pid]...)
		found = append(found, pid)
	}
	return found
}

// reap waits for a child that has ended. It returns at once if the process
// still runs or is nobody's child here.
func reap(pid int) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// mounts lists the mount points of this mount namespace, sorted.
func mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	slices.Sort(points)
	return points, nil
}

// names lists a folder; one that does not exist is empty.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	found := make([]string, len(entries))
	for i, e := range entries {
		found[i] = e.Name()
	}
	return found
}
