// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneAndRun issues clone or clone3 (nr) and returns the kernel's answer in the
// parent; the child runs b.ops and never returns. The caller holds
// syscall.ForkLock, is locked to its thread and has all signals blocked: the
// child starts with that mask, so that no handler of ours can run in it.
//
//go:noescape
//nolint:revive // It is a system call: four arguments that depend on nr, and the block.
func cloneAndRun(nr, a0, a1, a2 uintptr, b *block) uintptr

// kernelSigaction is the kernel's struct sigaction as far as its size matters:
// the largest of our architectures has four words.
type kernelSigaction struct {
	handler uintptr
	rest    [3]uintptr
}

const (
	signals      = 64 // Signals are numbered 1 to 64.
	sigmaskBytes = 8
	sigIgn       = 1
)

// clone makes a child and returns its pid; its pidfd is then in b.pidFD. The
// caller holds syscall.ForkLock. The child starts with the calling thread's
// attributes (time namespace for children, priority and so on).
func (h how) clone(b *block) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	b.mask = *(*uint64)(unsafe.Pointer(&old))
	pid, errno := h.cloneMasked(b)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil && errno == 0 {
		// Cannot happen with a mask that the kernel gave us itself.
		errno = errnoOf(err)
	}
	if errno != 0 {
		return 0, os.NewSyscallError(h.call(), errno)
	}
	return pid, nil
}

// cloneMasked makes the call itself.
func (h how) cloneMasked(b *block) (int, syscall.Errno) {
	stack := addr(&b.stack[0])
	var r uintptr
	if h.clone3 != 0 {
		b.args = cloneArgs{
			flags:      h.clone3 | unix.CLONE_PIDFD,
			pidFD:      uint64(addr(&b.pidFD)),
			exitSignal: uint64(unix.SIGCHLD),
			stack:      uint64(stack),
			stackSize:  stackSize,
		}
		if h.setTID != 0 {
			b.setTID = h.setTID
			b.args.setTID, b.args.setTIDSize = uint64(addr(&b.setTID)), 1
		}
		r = cloneAndRun(unix.SYS_CLONE3, addr(&b.args), unsafe.Sizeof(b.args), 0, b)
	} else {
		// clone, not clone3: sandboxes that refuse clone3 with ENOSYS allow it.
		// With CLONE_PIDFD the descriptor goes where the third argument points.
		flags := unix.CLONE_PIDFD | uintptr(unix.SIGCHLD)
		if h.sibling {
			flags |= unix.CLONE_PARENT
		}
		r = cloneAndRun(unix.SYS_CLONE, flags, stack+stackSize, addr(&b.pidFD), b)
	}
	if e := int(r); e < 0 {
		return 0, syscall.Errno(-e)
	}
	return int(r), 0
}

// ignoredSignals returns which signals this process ignores; a program that it
// starts goes on to ignore them, as after any exec.
func ignoredSignals() (ignored [signals + 1]bool) {
	for sig := 1; sig <= signals; sig++ {
		var now kernelSigaction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&now)), sigmaskBytes, 0, 0)
		ignored[sig] = errno == 0 && now.handler == sigIgn
	}
	return ignored
}

// sendFiles sends one byte and the descriptors to a waiting child.
func sendFiles(sock int, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(sock, []byte{1}, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	return nil
}
