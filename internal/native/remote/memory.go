// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Read fills p from the target's memory at addr. Memory that the target itself
// could not read gives an error that is unix.EFAULT.
func (r *Runner) Read(addr uint64, p []byte) error { return readMemory(r.PID(), addr, p) }

// Write puts p into the target's memory at addr. Memory that the target itself
// could not write gives an error that is unix.EFAULT.
func (r *Runner) Write(addr uint64, p []byte) error { return writeMemory(r.PID(), addr, p) }

func readMemory(pid int, addr uint64, p []byte) error {
	err := transfer(addr, p, func(local []unix.Iovec, remote []unix.RemoteIovec) (int, error) {
		return unix.ProcessVMReadv(pid, local, remote, 0)
	})
	if err != nil {
		return fmt.Errorf("read %d bytes at %#x in process %d: %w", len(p), addr, pid, err)
	}
	return nil
}

func writeMemory(pid int, addr uint64, p []byte) error {
	err := transfer(addr, p, func(local []unix.Iovec, remote []unix.RemoteIovec) (int, error) {
		return unix.ProcessVMWritev(pid, local, remote, 0)
	})
	if err != nil {
		return fmt.Errorf("write %d bytes at %#x in process %d: %w", len(p), addr, pid, err)
	}
	return nil
}

// transfer calls move until all of p has been moved.
func transfer(addr uint64, p []byte, move func([]unix.Iovec, []unix.RemoteIovec) (int, error)) error {
	for len(p) > 0 {
		local := []unix.Iovec{{Base: &p[0]}}
		local[0].SetLen(len(p))
		n, err := move(local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(p)}})
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ESRCH):
			return ptrace.ErrGone
		case err != nil:
			return err
		case n == 0:
			return unix.EFAULT
		}
		addr, p = addr+uint64(n), p[n:]
	}
	return nil
}

// WriteCode puts p into memory that the target cannot write: only a tracer may.
func WriteCode(tid int, addr uint64, p []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", tid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, int64(addr))
	return errors.Join(err, f.Close())
}
