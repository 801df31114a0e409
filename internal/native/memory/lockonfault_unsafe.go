// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/maps"
)

// guessLockOnFault marks a locked mapping as one of mlock2(MLOCK_ONFAULT) on a kernel
// that does not show it (6.1 is one), if some of it is not in memory: mlock(2) would
// have brought that in. It would have failed to for pages that nobody may touch, or
// that a file does not have, and there it makes no difference what is done again.
func guessLockOnFault(r *region) {
	if r.Flags.Has(maps.FlagLocked) && !r.Flags.Has(maps.FlagLockOnFault) && r.Rss < r.Size() && !showsLockOnFault() {
		r.Flags |= maps.FlagLockOnFault
	}
}

// showsLockOnFault tells, by a page of crtime's own, whether the kernel shows which
// memory was locked by mlock2(MLOCK_ONFAULT). Where that cannot be found out it is
// taken to.
var showsLockOnFault = sync.OnceValue(func() bool { //nolint:gochecknoglobals // Never changed.
	page, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return true
	}
	defer func() { _ = unix.Munmap(page) }()
	at := uintptr(unsafe.Pointer(unsafe.SliceData(page)))
	if _, _, errno := unix.Syscall(unix.SYS_MLOCK2, at, pageSize, unix.MLOCK_ONFAULT); errno != 0 {
		return true
	}
	own, err := maps.Read(os.Getpid())
	if err != nil {
		return true
	}
	for _, v := range own {
		if v.Start <= uint64(at) && uint64(at) < v.End {
			return v.Flags.Has(maps.FlagLockOnFault)
		}
	}
	return true
})
