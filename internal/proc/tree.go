// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Threads lists the threads of a process, in rising order.
func Threads(pid int) ([]int, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, readError(dir, err)
	}
	defer unix.Close(fd)
	var buf [4096]byte
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf[:])
		if err != nil {
			return nil, readError(dir, err)
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	tids := make([]int, 0, len(names))
	for _, n := range names {
		if tid, err := strconv.Atoi(n); err == nil {
			tids = append(tids, tid)
		}
	}
	slices.Sort(tids)
	return tids, nil
}

// Children lists the child processes of one thread. A process's children are
// those of all its threads.
func Children(pid, tid int) ([]int, error) {
	path := fmt.Sprintf("/proc/%d/task/%d/children", pid, tid)
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(string(data)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// Task is one process of a tree at the moment it was scanned.
type Task struct {
	PID     int
	Threads []int
	Zombie  bool
}

// Snapshot is one scan of a tree.
type Snapshot struct {
	Tasks []Task // Root first, parents before their children.
	// AllStopped is true when every thread of every living process was seen
	// stopped by a tracer.
	AllStopped bool
}

// Same reports whether two scans saw the same processes and threads.
func (s *Snapshot) Same(o *Snapshot) bool {
	return slices.EqualFunc(s.Tasks, o.Tasks, func(a, b Task) bool {
		return a.PID == b.PID && a.Zombie == b.Zombie && slices.Equal(a.Threads, b.Threads)
	})
}

// PIDs lists the tree's processes, root first.
func (s *Snapshot) PIDs() []int {
	pids := make([]int, len(s.Tasks))
	for i, t := range s.Tasks {
		pids[i] = t.PID
	}
	return pids
}

// Scan walks the tree below root once. The error is ErrGone when root is gone;
// other processes that vanish in mid-scan are left out, and AllStopped is then
// false.
//
// One scan proves nothing about a tree that runs. Two scans in a row that are
// AllStopped and the Same do: no thread seen stopped in both can have made a
// new one in between.
func Scan(root int) (*Snapshot, error) {
	s := &Snapshot{AllStopped: true}
	if err := s.add(root); err != nil {
		return nil, err
	}
	return s, nil
}

// add appends the process pid and everything below it.
func (s *Snapshot) add(pid int) error {
	tids, err := Threads(pid)
	if err != nil {
		return err
	}
	at := len(s.Tasks)
	s.Tasks = append(s.Tasks, Task{PID: pid, Threads: tids})
	var children []int
	for _, tid := range tids {
		state, err := threadState(pid, tid)
		if err != nil {
			s.AllStopped = false
			continue
		}
		switch state {
		case Traced:
		case Zombie, Dead:
			s.Tasks[at].Zombie = len(tids) == 1
			s.AllStopped = s.AllStopped && len(tids) == 1
		default:
			s.AllStopped = false
		}
		more, err := Children(pid, tid)
		if err != nil {
			s.AllStopped = false
			continue
		}
		children = append(children, more...)
	}
	for _, c := range children {
		if err := s.add(c); errors.Is(err, ErrGone) {
			s.AllStopped = false
		} else if err != nil {
			return err
		}
	}
	return nil
}

// threadState reads the state of one thread.
func threadState(pid, tid int) (State, error) {
	var buf [1024]byte
	data, err := readSmall("/proc/"+strconv.Itoa(pid)+"/task/"+strconv.Itoa(tid)+"/stat", buf[:])
	if err != nil {
		return 0, err
	}
	// The state follows the name in parentheses; see ParseStat.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 || end+2 >= len(data) {
		return 0, fmt.Errorf("stat line of thread %d without a state: %q", tid, clip(data))
	}
	return State(data[end+2]), nil
}

// readSmall reads a file that fits into buf with three system calls and no
// allocation: a scan reads one for every thread, while a tree is frozen.
func readSmall(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, readError(path, err)
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, readError(path, err)
	}
	if n == len(buf) {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, len(buf))
	}
	return buf[:n], nil
}
