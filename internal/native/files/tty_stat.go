// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// terminalStat is what /proc/PID/stat tells of a process and its terminal.
type terminalStat struct {
	group, session int
	terminal       uint64 // Device; 0: it has none.
	foreground     int    // The group that may read from it.
}

func readTerminalStat(pid int) (terminalStat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := readWhole(unix.AT_FDCWD, path)
	if err != nil {
		return terminalStat{}, err
	}
	s, err := parseTerminalStat(data)
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parseTerminalStat reads the fields pgrp, session, tty_nr and tpgid, see
// proc_pid_stat(5). The name before them may hold anything but is the last that
// stands in parentheses.
func parseTerminalStat(data []byte) (terminalStat, error) {
	var s terminalStat
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const group, foreground = 2, 5 // State and parent are the first.
	if len(fields) <= foreground {
		return s, fmt.Errorf("it has %d fields behind the name", len(fields))
	}
	var numbers [foreground - group + 1]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(fields[group+i], 10, 64); err != nil || numbers[i] > math.MaxUint32 || numbers[i] < -1<<31 {
			return s, fmt.Errorf("field %q is no such number", fields[group+i])
		}
	}
	return terminalStat{
		group: int(numbers[0]), session: int(numbers[1]),
		terminal: decodeDevice(uint32(numbers[2])), foreground: int(numbers[3]),
	}, nil
}

// decodeDevice undoes the kernel's new_encode_dev, which /proc and TIOCGDEV have.
func decodeDevice(n uint32) uint64 {
	return unix.Mkdev(n>>8&0xfff, n&0xff|n>>12&0xfff00)
}

// terminals is what is known of the terminals of a tree.
type terminals struct {
	masters  map[int]bool // Numbers of those whose master end is in the tree.
	sessions map[int]int  // By number: the session whose controlling terminal it is.
	groups   map[int]int  // By number: its foreground group.
	outside  int          // The one whose master end is outside; -1: none was met yet.
}

// terminals looks for the terminals of the tree, once.
func (t *tree) terminals() *terminals {
	if t.ttys != nil {
		return t.ttys
	}
	t.ttys = &terminals{masters: map[int]bool{}, sessions: map[int]int{}, groups: map[int]int{}, outside: -1}
	var slaves []int
	for _, pid := range t.pids {
		if s := t.stats[pid]; unix.Major(s.terminal) == majorPTS {
			index := int(unix.Minor(s.terminal))
			t.ttys.sessions[index], t.ttys.groups[index] = s.session, s.foreground
			slaves = append(slaves, index)
		}
		slaves = append(slaves, t.noteTerminals(pid)...)
	}
	for _, index := range slaves {
		if !t.ttys.masters[index] && t.ttys.outside < 0 {
			t.ttys.outside = index
		}
	}
	return t.ttys
}

// noteTerminals notes the masters that a process has open, and lists the slaves.
func (t *tree) noteTerminals(pid int) (slaves []int) {
	for _, d := range t.described[pid] {
		if !(ttyKind{}).handles(d) {
			continue
		}
		switch endOf(d.stat.Rdev) {
		case master:
			if index, err := ptyIndex(d); err == nil {
				t.ttys.masters[index] = true
			}
		case slave:
			if !strings.HasSuffix(d.link, deletedSuffix) {
				slaves = append(slaves, int(unix.Minor(d.stat.Rdev)))
			}
		default:
		}
	}
	return slaves
}
