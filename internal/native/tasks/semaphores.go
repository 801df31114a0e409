// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// adjusters lists those of the processes pids whose end may adjust a System V
// semaphore (SEM_UNDO), an adjustment that a restored process would not have. What
// there is to adjust the kernel does not tell, but two signs of it: the process was
// the last to operate on a semaphore that exists, and it has a list of adjustments.
// A process that has or had threads has such a list anyway.
func adjusters(pids []int) ([]engine.Obstacle, error) {
	sets, err := semaphoreSets()
	if err != nil || len(sets) == 0 {
		return nil, err
	}
	var found []engine.Obstacle
	for _, pid := range lastUsers(sets, pids) {
		stat, err := proc.ReadStat(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		undoes, err := mayUndo(pid)
		if err != nil {
			return nil, err
		}
		if undoes {
			found = append(found, engine.Obstacle{
				PID: pid, Comm: stat.Comm, What: "System V semaphore that its end may adjust (SEM_UNDO)",
				Why: "no image has a place for the adjustments: dump it when it does not use the semaphore",
			})
		}
	}
	return found, nil
}

// semaphoreSet is a set of System V semaphores.
type semaphoreSet struct{ id, size int }

// semaphoreSets lists all sets that there are.
func semaphoreSets() ([]semaphoreSet, error) {
	data, err := os.ReadFile("/proc/sysvipc/sem")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // A kernel without System V IPC.
	}
	if err != nil {
		return nil, err
	}
	sets, err := parseSemaphores(data)
	if err != nil {
		return nil, fmt.Errorf("/proc/sysvipc/sem: %w", err)
	}
	return sets, nil
}

// parseSemaphores parses the table, which has a line of titles first. Its columns
// are key, id, permissions, number of semaphores, and others.
func parseSemaphores(data []byte) ([]semaphoreSet, error) {
	var sets []semaphoreSet
	first := true
	for line := range bytes.Lines(data) {
		if first {
			first = false
			continue
		}
		const id, size = 1, 3
		fields := bytes.Fields(line)
		if len(fields) <= size {
			return nil, fmt.Errorf("%d columns in %q", len(fields), line)
		}
		var s semaphoreSet
		var err1, err2 error
		s.id, err1 = strconv.Atoi(string(fields[id]))
		s.size, err2 = strconv.Atoi(string(fields[size]))
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// lastUsers lists those of pids that were the last to operate on a semaphore.
func lastUsers(sets []semaphoreSet, pids []int) []int {
	const getPID = 11 // GETPID of linux/sem.h.
	var users []int
	for _, s := range sets {
		for i := range s.size {
			// One that was removed, or that crtime may not look at, is nobody's.
			pid, _, errno := unix.Syscall6(unix.SYS_SEMCTL, uintptr(s.id), uintptr(i), getPID, 0, 0, 0)
			if errno == 0 && slices.Contains(pids, int(pid)) && !slices.Contains(users, int(pid)) {
				users = append(users, int(pid))
			}
		}
	}
	return users
}

// mayUndo reports whether a process has a list of semaphore adjustments. The kernel
// only compares lists, and finds alike those that do not exist: whose list is alike
// to that of another process has none.
func mayUndo(pid int) (bool, error) {
	tree, err := os.ReadDir("/proc")
	if err != nil {
		return false, err
	}
	for _, e := range tree {
		other, err := strconv.Atoi(e.Name())
		if err != nil || other == pid {
			continue
		}
		same, err := sharesUndo(pid, other)
		switch {
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
			return true, nil // A kernel that does not compare them.
		case err == nil && same:
			return false, nil
		}
	}
	return true, nil
}
