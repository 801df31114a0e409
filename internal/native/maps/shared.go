// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// SharedMemoryDevice is the device number that the kernel's nameless shared memory
// has: memfds, shared anonymous memory, System V segments. It does not change while
// the system runs.
func SharedMemoryDevice() (uint64, error) { return sharedMemoryDevice() }

//nolint:gochecknoglobals // Asked once.
var sharedMemoryDevice = sync.OnceValues(func() (uint64, error) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("make a memory file: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("look at an own memory file: %w", err)
	}
	return uint64(st.Dev), nil //nolint:unconvert // Another type on other machines.
})
