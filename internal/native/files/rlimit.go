// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// allowDescriptors raises a process's limit of open files for as long as it
// takes to install them: a program may have lowered its limit after opening.
// undo puts the limit back.
func allowDescriptors(pid int, list []wanted) (undo func() error, err error) {
	need := uint64(2) // What the calls use in passing.
	for _, w := range list {
		need = max(need, uint64(w.fd)+2)
	}
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return nil, fmt.Errorf("ask for the limit of open files of process %d: %w", pid, err)
	}
	if old.Cur >= need {
		return func() error { return nil }, nil
	}
	higher := unix.Rlimit{Cur: need, Max: max(need, old.Max)}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &higher, nil); err != nil {
		return nil, fmt.Errorf("process %d needs descriptor %d, above its limit of %d: raise crtime's own limit (ulimit -Hn): %w",
			pid, need-2, old.Max, err)
	}
	return func() error {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			return fmt.Errorf("put the limit of open files of process %d back: %w", pid, err)
		}
		return nil
	}, nil
}
