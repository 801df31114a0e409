// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Status holds the fields of /proc/PID/status that crtime uses.
type Status struct {
	// NSPids are the process's pids from the reader's pid namespace inward;
	// the last is what the process itself calls its pid.
	NSPids    []int
	TracerPID int
	// ThreadGroup is the process that a thread belongs to.
	ThreadGroup int
	UID         int // Real user id in the reader's user namespace.
}

// ReadStatus reads /proc/PID/status. The error is ErrGone when there is no
// such process.
func ReadStatus(pid int) (*Status, error) {
	data, err := readTask(pid, "status")
	if err != nil {
		return nil, err
	}
	s, err := ParseStatus(data)
	if err != nil {
		return nil, fmt.Errorf("status of process %d: %w", pid, err)
	}
	return s, nil
}

// ParseStatus parses a status file. Fields that it does not know are ignored;
// a field that is missing keeps its zero value.
func ParseStatus(data []byte) (*Status, error) {
	s := &Status{}
	for name, value := range StatusFields(data) {
		fields := strings.Fields(value)
		numbers := make([]int, 0, len(fields))
		if name == "NSpid" || name == "TracerPid" || name == "Uid" || name == "Tgid" {
			for _, f := range fields {
				n, err := strconv.Atoi(f)
				if err != nil {
					return nil, fmt.Errorf("field %s: %w", name, err)
				}
				numbers = append(numbers, n)
			}
			if len(numbers) == 0 {
				return nil, fmt.Errorf("field %s is empty", name)
			}
		}
		switch name {
		case "NSpid":
			s.NSPids = numbers
		case "TracerPid":
			s.TracerPID = numbers[0]
		case "Tgid":
			s.ThreadGroup = numbers[0]
		case "Uid":
			s.UID = numbers[0]
		}
	}
	return s, nil
}

// StatusFields yields the name and the value of each line of a status file, the
// value without the tab before it and the line feed after it: the name of a process
// may begin or end with white space.
func StatusFields(data []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for line := range bytes.Lines(data) {
			name, value, ok := strings.Cut(string(line), ":")
			if ok && !yield(name, strings.TrimSuffix(strings.TrimPrefix(value, "\t"), "\n")) {
				return
			}
		}
	}
}
