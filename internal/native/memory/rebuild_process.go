// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// process is a stopped process into whose memory contents are written.
type process struct {
	pid    int
	faults *faults // nil: everything is written by process_vm_writev.
}

func (pr *process) put(p *piece, b []byte) error {
	if p.how == direct && pr.faults != nil {
		for _, part := range p.parts {
			if err := pr.faults.copy(part.addr, b[:part.size]); err != nil {
				return fmt.Errorf("fill %s of process %d: %w", span{part.addr, part.end()}, pr.pid, err)
			}
			b = b[part.size:]
		}
		return nil
	}
	remote := make([]unix.RemoteIovec, len(p.parts))
	for i, part := range p.parts {
		remote[i] = unix.RemoteIovec{Base: uintptr(part.addr), Len: int(part.size)}
	}
	return pr.write(b[:p.size], remote)
}

// write copies b to all of the remote ranges, in order.
func (pr *process) write(b []byte, remote []unix.RemoteIovec) error {
	for len(b) > 0 {
		local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
		n, err := unix.ProcessVMWritev(pr.pid, local, remote, 0)
		if err != nil {
			return fmt.Errorf("fill %d bytes at %x of process %d: %w", len(b), remote[0].Base, pr.pid, died(err))
		}
		b = b[n:]
		for n > 0 {
			step := min(n, remote[0].Len)
			remote[0].Base += uintptr(step)
			remote[0].Len -= step
			n -= step
			if remote[0].Len == 0 {
				remote = remote[1:]
			}
		}
	}
	return nil
}

// died gives the error of a process that was killed meanwhile its name.
func died(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return proc.ErrGone
	}
	return err
}
