// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// duplicates are crtime's own descriptors of other processes' open files. The
// zero value is empty and ready.
type duplicates struct {
	pidfds map[int]int
	files  map[[2]int]int // By pid and descriptor.
}

// get returns a duplicate of a process's descriptor, with CLOEXEC. It belongs
// to duplicates.
func (s *duplicates) get(pid, fd int) (int, error) {
	key := [2]int{pid, fd}
	if dup, ok := s.files[key]; ok {
		return dup, nil
	}
	pidfd, ok := s.pidfds[pid]
	if !ok {
		var err error
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return -1, fmt.Errorf("open process %d: %w", pid, err)
		}
		if s.pidfds == nil {
			s.pidfds, s.files = map[int]int{}, map[[2]int]int{}
		}
		s.pidfds[pid] = pidfd
	}
	dup, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate descriptor %d of process %d: %w", fd, pid, hint(err))
	}
	s.files[key] = dup
	return dup, nil
}

// hint adds what can be done about an error that has to do with crtime's own
// limit of open files.
func hint(err error) error {
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("%w: crtime needs as many descriptors as the tree has open files: raise its limit (ulimit -n)", err)
	}
	return err
}

// Close closes everything.
func (s *duplicates) Close() error {
	err := errors.Join(closeAll(s.files), closeAll(s.pidfds))
	*s = duplicates{}
	return err
}

// closeAll closes the descriptors of a map.
func closeAll[K comparable](fds map[K]int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}
