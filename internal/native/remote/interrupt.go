// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Interrupt makes a call in a thread of the stub and interrupts it as soon as it waits.
// kept says that the kernel has kept for the thread what it needs to go on waiting (a
// sleep, a poll or a futex wait with a time limit, from now on): a State with
// Interrupted and with this result goes on with it, whatever its other registers are,
// unless the thread makes another call of that kind before. If kept is false the
// call is over, and result is what it returned.
func (s *Stub) Interrupt(th *ptrace.Thread, c Call) (kept bool, result int64, err error) {
	regs, err := th.Registers()
	if err != nil {
		return false, 0, err
	}
	regs = s.enterAt(th, regs, entryStep)
	regs.SetCall(uint64(c.Nr), c.Args)
	if err := th.SetRegisters(regs); err != nil {
		return false, 0, err
	}
	if err := s.awaitSyscallStop(th); err != nil { // The entry.
		return false, 0, err
	}
	// It is told to stop before it has begun, so that it never sleeps.
	if err := th.Interrupt(); err != nil {
		return false, 0, err
	}
	if err := s.awaitSyscallStop(th); err != nil {
		return false, 0, err
	}
	if regs, err = th.Registers(); err != nil {
		return false, 0, err
	}
	switch result = regs.Result(); result {
	case -errRestartBlock:
		kept = true
	case -errRestartSys, -errRestartNoIntr, -errRestartNoHand:
		err = fmt.Errorf("%s: the kernel keeps nothing of it when it is interrupted", c.Name)
	}
	return kept, result, err
}
