// SPDX-License-Identifier: Apache-2.0

package memory

import "golang.org/x/sys/unix"

// The bits of a mapping's status in mm-PID.img, as CRIU 4.2 writes them
// (criu/include/image.h). Both halves of the package use them.
const (
	statusRegular     = 1 << 0  // Memory that is saved and restored.
	statusStack       = 1 << 1  // Not set by current versions.
	statusVsyscall    = 1 << 2  // The page that the kernel puts at a fixed place.
	statusVDSO        = 1 << 3  // [vdso]
	statusHeap        = 1 << 5  // [heap], for information only.
	statusFilePrivate = 1 << 6  // MAP_PRIVATE of a file.
	statusFileShared  = 1 << 7  // MAP_SHARED of a file.
	statusAnonShared  = 1 << 8  // MAP_SHARED|MAP_ANONYMOUS; shmid names the object.
	statusAnonPrivate = 1 << 9  // MAP_PRIVATE|MAP_ANONYMOUS
	statusSysVIPC     = 1 << 10 // shmat(2)
	statusSocket      = 1 << 11 // A packet socket's ring.
	statusVVAR        = 1 << 12 // [vvar] and what belongs to it, in one entry.
	statusAIORing     = 1 << 13 // io_setup(2)
	statusMemfd       = 1 << 14 // Together with a file bit: the file is of memory only.
	statusShadowStack = 1 << 15 // A user shadow stack.
	statusGuard       = 1 << 16 // No mapping: pages inside one that MADV_GUARD_INSTALL made traps.
	statusUprobes     = 1 << 17 // [uprobes], which the kernel maps by itself.
	statusPlugin      = 1 << 27 // A device whose plugin of CRIU restores it.
)

// lockOnFault is MAP_NONBLOCK, which an image has beside MAP_LOCKED for memory
// that mlock2(MLOCK_ONFAULT) locked. The flag means nothing to mmap without
// MAP_POPULATE: CRIU, whose images cannot tell the two locks apart, restores the
// area as one that mlock(2) locked.
const lockOnFault = unix.MAP_NONBLOCK

// pageSize is the page size that the images are made with. All kernels on which
// crtime restores processes have it.
const pageSize = 4096
