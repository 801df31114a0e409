// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"sync"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/extra"
)

// Of the kernel's uapi/linux/ioprio.h and sched.h.
const (
	ioprioWhoProcess = 1
	ioprioClassShift = 13 // Above the class, below its level and hint.
	ioprioClassIdle  = 3  // The highest class; 0: none, the nice value decides.
	clampScale       = 1024
	clampReset       = 1<<32 - 1 // Takes a clamp back.
)

// plainClamps reports whether a thread has not asked to be taken for busier or idler
// than it is. Kernels without such clamps say 0 and 0; those with them take real-time
// threads for as busy as can be.
func plainClamps(policy, least, most uint32) bool {
	return least == 0 && (most == 0 || most == clampScale) || realTime(policy) && least == clampScale && most == clampScale
}

// saveClamps keeps what a thread has asked of the scheduler beside its policy:
// utilisation clamps, and how long it wants to run at a time.
func saveClamps(attr *unix.SchedAttr, tc *criu_core.ThreadCoreEntry) {
	if !plainClamps(attr.Policy, attr.Util_min, attr.Util_max) {
		extra.Set(tc, fieldClampMin, uint64(attr.Util_min))
		extra.Set(tc, fieldClampMax, uint64(attr.Util_max))
	}
	// Since Linux 6.12 an ordinary thread has a slice; it is the machine's unless the
	// thread has chosen one.
	if !realTime(attr.Policy) && attr.Runtime != 0 && attr.Runtime != usualSlice() {
		extra.Set(tc, fieldSlice, attr.Runtime)
	}
}

// usualSlice is how long threads run at a time that have not chosen that: crtime's
// own slice.
var usualSlice = sync.OnceValue(func() uint64 { //nolint:gochecknoglobals // Never changed.
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return 0
	}
	return attr.Runtime
})

// checkClamps refuses what no thread can have.
func checkClamps(tc *criu_core.ThreadCoreEntry) error {
	least, _ := extra.Value(tc, fieldClampMin)
	most, clamped := extra.Value(tc, fieldClampMax)
	if clamped && (least > most || most > clampScale) {
		return fmt.Errorf("the image has utilisation clamps of %d and %d", least, most)
	}
	if prio, _ := extra.Value(tc, fieldIOPriority); prio>>ioprioClassShift > ioprioClassIdle {
		return fmt.Errorf("the image has %#x for its I/O priority", prio)
	}
	return nil
}

// setAttributes gives a thread its policy, which is in attr, with what it has asked
// for besides.
func setAttributes(tid int, attr *unix.SchedAttr, tc *criu_core.ThreadCoreEntry) error {
	most, clamped := extra.Value(tc, fieldClampMax)
	now, err := unix.SchedGetAttr(tid, 0)
	switch {
	case err != nil:
		return fmt.Errorf("scheduling of thread %d: %w", tid, err)
	case clamped:
		least, _ := extra.Value(tc, fieldClampMin)
		attr.Flags |= unix.SCHED_FLAG_UTIL_CLAMP
		attr.Util_min, attr.Util_max = uint32(least), uint32(most)
	case !plainClamps(now.Policy, now.Util_min, now.Util_max): // From crtime.
		attr.Flags |= unix.SCHED_FLAG_UTIL_CLAMP
		attr.Util_min, attr.Util_max = clampReset, clampReset
	}
	if slice, ok := extra.Value(tc, fieldSlice); ok && !realTime(attr.Policy) {
		attr.Runtime = slice
	}
	err = unix.SchedSetAttr(tid, attr, 0)
	if clamped && errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("set the utilisation clamps of thread %d, which this kernel does not have; %s, which leaves them out: %w", tid, useCRIU, err)
	}
	if err != nil {
		return fmt.Errorf("set the scheduling policy of thread %d to %d: %w", tid, attr.Policy, err)
	}
	return nil
}

// ioPriority asks for a thread's own I/O priority; 0: it has none.
func ioPriority(tid int) (uint64, error) {
	prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, uintptr(tid), 0)
	switch {
	case errors.Is(errno, unix.ENOSYS): // A kernel without disks.
		return 0, nil
	case errno != 0:
		return 0, fmt.Errorf("I/O priority of thread %d: %w", tid, errno)
	case prio>>ioprioClassShift == 0:
		return 0, nil // Old kernels add a level that means nothing.
	}
	return uint64(prio), nil
}

// saveIOPriority keeps a thread's turn at the disks.
func saveIOPriority(tid int, tc *criu_core.ThreadCoreEntry) error {
	prio, err := ioPriority(tid)
	if err == nil && prio != 0 {
		extra.Set(tc, fieldIOPriority, prio)
	}
	return err
}

// setIOPriority gives a thread its turn at the disks, from outside.
func setIOPriority(tid int, tc *criu_core.ThreadCoreEntry) error {
	want, _ := extra.Value(tc, fieldIOPriority)
	have, err := ioPriority(tid)
	if err != nil || have == want {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(tid), uintptr(want)); errno != 0 {
		return fmt.Errorf("set the I/O priority of thread %d to %#x: %w", tid, want, errno)
	}
	return nil
}
