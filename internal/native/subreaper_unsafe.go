// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adoption counts the restores that are being undone: the mark belongs to the whole
// process.
var adoption struct { //nolint:gochecknoglobals // So does the mark, to the process.
	sync.Mutex
	users  int
	before int32 // The mark when there were none.
}

// adoptOrphans makes crtime the parent of what its descendants leave behind, until
// the function that it returns is called.
func adoptOrphans() (undo func() error, err error) {
	a := &adoption
	a.Lock()
	defer a.Unlock()
	if a.users == 0 {
		if err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&a.before)), 0, 0, 0); err != nil {
			return nil, fmt.Errorf("PR_GET_CHILD_SUBREAPER: %w", err)
		}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("PR_SET_CHILD_SUBREAPER: %w", err)
		}
	}
	a.users++
	return func() error {
		a.Lock()
		defer a.Unlock()
		if a.users--; a.users > 0 {
			return nil
		}
		return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(a.before), 0, 0, 0)
	}, nil
}
