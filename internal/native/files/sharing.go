// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
)

// sharedObject is something of the kernel's that tasks can have in common.
type sharedObject struct {
	kind       uintptr // Of kcmp.
	what, call string
}

// sharedObjects are those that concern open files.
func sharedObjects() [2]sharedObject {
	return [...]sharedObject{
		{kcmpFiles, "descriptor table", "CLONE_FILES"},
		{kcmpFS, "working directory", "CLONE_FS"},
	}
}

// sharing finds descriptor tables and directories that tasks share, or do not
// share, otherwise than fork and threads do by themselves. It is to be called
// once for each process of the tree; of those that share, the later ones are
// blamed.
func (t *tree) sharing(pid int) ([]engine.Obstacle, error) {
	tids, err := furtherThreads(pid)
	if err != nil {
		return nil, err
	}
	var found []engine.Obstacle
	for i, o := range sharedObjects() {
		for _, tid := range tids {
			same, err := sharesTable(pid, tid, o.kind)
			if err != nil || same {
				continue // A thread that ended has none.
			}
			found = append(found, engine.Obstacle{
				PID: pid, Comm: comm(pid), What: fmt.Sprintf("%s of its own in thread %d", o.what, tid),
				Why: "threads that do not share it (unshare(" + o.call + ")) cannot be restored",
			})
		}
		other, err := t.sharers[i].add(pid, o.kind)
		if err != nil {
			return found, err
		}
		if other != 0 {
			found = append(found, engine.Obstacle{
				PID: pid, Comm: comm(pid), What: fmt.Sprintf("%s shared with process %d", o.what, other),
				Why: "processes that share it (" + o.call + ") cannot be restored",
			})
		}
	}
	return found, nil
}

// furtherThreads lists the threads of a process but for the first.
func furtherThreads(pid int) ([]int, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/task"
	// The kernel counts each thread as a link to the directory (proc_task_getattr of
	// its fs/proc/base.c), beside the two that every directory has.
	var st unix.Stat_t
	const alone = 3
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("look at the threads of process %d: %w", pid, err)
	}
	if st.Nlink == alone {
		return nil, nil
	}
	tids, err := listNumbers(path)
	if err != nil {
		return nil, fmt.Errorf("list the threads of process %d: %w", pid, err)
	}
	return slices.DeleteFunc(tids, func(tid int) bool { return tid == pid }), nil
}

// sharers are processes that do not share an object, in the order that kcmp gives
// to their own ones. So each further process costs few comparisons, not one with
// every other.
type sharers []int

// add returns a process that shares the object with pid; 0: none does.
func (s *sharers) add(pid int, kind uintptr) (other int, err error) {
	at, found := slices.BinarySearchFunc(*s, pid, func(known, pid int) int {
		order, e := kcmp(kind, ofTask{pid: known}, ofTask{pid: pid})
		if e != nil {
			err = e
		}
		return order
	})
	switch {
	case err != nil:
		return 0, err
	case found:
		return (*s)[at], nil
	default:
		*s = slices.Insert(*s, at, pid)
		return 0, nil
	}
}

// sharesTable reports whether two tasks share what kcmp's type names, such as
// their descriptor table. It needs the right to ptrace both.
func sharesTable(a, b int, kind uintptr) (bool, error) {
	order, err := kcmp(kind, ofTask{pid: a}, ofTask{pid: b})
	return err == nil && order == 0, err
}

// Types of kcmp, from the kernel's include/uapi/linux/kcmp.h.
const (
	kcmpFile  = 0
	kcmpFiles = 2
	kcmpFS    = 3
)

// ofTask is a kernel object of a task; fd is of no meaning but for files.
type ofTask struct{ pid, fd int }

// kcmp compares kernel objects of two tasks in an order that the kernel gives to
// them: 0 means that they are the same, -1 that a's comes first.
func kcmp(kind uintptr, a, b ofTask) (int, error) {
	answer, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a.pid), uintptr(b.pid), kind, uintptr(a.fd), uintptr(b.fd), 0)
	if errno != 0 {
		return 0, fmt.Errorf("kcmp of processes %d and %d: %w", a.pid, b.pid, errno)
	}
	switch answer { // kcmp(2): 0 equal, 1 less, 2 greater, 3 different without an order.
	case 0:
		return 0, nil
	case 1:
		return -1, nil
	default:
		return 1, nil
	}
}
