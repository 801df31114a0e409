// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// birth is the memory that a new process reads and writes until it executes its
// program. It is this process's own memory, which the two share for so long.
type birth struct {
	args   [cloneArgsSize]byte
	tid    int32
	parent uintptr // What getppid must say.
	fd     uintptr // The program.
	empty  [8]byte //nolint:unused // Read by the assembler. An empty string, and an empty list of them.
	errno  uintptr // Of the call that failed; 0: none.
}

// startProgram starts the program that is open as fd in a new process with the
// number pid. It returns when the program runs.
func startProgram(pid, fd int, of family) error {
	b := &birth{tid: int32(pid), parent: uintptr(of.parent()), fd: uintptr(fd)}
	copy(b.args[:], cloneArgs{
		// The child runs in this process's memory while this thread waits: no
		// other way is as fast.
		flags:      unix.CLONE_VM | unix.CLONE_VFORK | of.flags(),
		exitSignal: of.exitSignal(),
		setTID:     uint64(uintptr(unsafe.Pointer(&b.tid))),
	}.encode())
	got, err := cloneMasked(b)
	if err != nil {
		return cloneError(os.NewSyscallError("clone3", err))
	}
	if b.errno != 0 {
		killChild(got)
		return fmt.Errorf("execute the stub's program: %w", syscall.Errno(b.errno))
	}
	if got != pid {
		// Not with a kernel that keeps to its word.
		killChild(got)
		return fmt.Errorf("the kernel made process %d instead of %d", got, pid)
	}
	return nil
}

// cloneMasked makes the child with all signals blocked, so that no handler of
// ours can run in it.
func cloneMasked(b *birth) (int, error) {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	r := cloneAndExec(b)
	runtime.KeepAlive(b)
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if n := int(r); n < 0 {
		err = errors.Join(syscall.Errno(-n), err)
	}
	if err != nil {
		return 0, err
	}
	return int(r), nil
}
