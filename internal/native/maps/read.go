// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/crtime/crtime/internal/proc"
)

// Read lists the mappings of a process in rising order. The error is
// proc.ErrGone when there is no such process. A zombie and a kernel thread have
// none.
func Read(pid int) ([]VMA, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/smaps"
	f, err := os.Open(path)
	if err != nil {
		return nil, gone(path, err)
	}
	defer f.Close()
	vmas, err := Parse(f)
	if err != nil {
		return nil, gone(path, err)
	}
	return vmas, nil
}

// gone gives an error of a /proc file its name. A process can go away between
// open and read, which the kernel reports as ESRCH.
func gone(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: %w", path, proc.ErrGone)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
