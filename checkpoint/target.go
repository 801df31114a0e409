// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"

	"github.com/crtime/crtime/internal/proc"
)

// ErrTarget says that a process cannot be dumped because of what it is.
var ErrTarget = errors.New("cannot dump this process")

// checkTarget refuses what no engine could dump, before anything is touched.
func checkTarget(pid int) error {
	if pid <= 0 {
		return fmt.Errorf("%w: %d is not a process identifier", ErrTarget, pid)
	}
	st, err := proc.ReadStat(pid)
	if errors.Is(err, proc.ErrGone) {
		return fmt.Errorf("%w: there is no process %d (%w)", ErrTarget, pid, proc.ErrGone)
	}
	if err != nil {
		return fmt.Errorf("%w: process %d: %w", ErrTarget, pid, err)
	}
	switch {
	case st.KernelThread():
		return fmt.Errorf("%w: process %d (%s) is a kernel thread", ErrTarget, pid, st.Comm)
	case st.State == proc.Zombie || st.State == proc.Dead:
		return fmt.Errorf("%w: process %d (%s) has ended and waits for its parent %d to notice", ErrTarget, pid, st.Comm, st.PPID)
	}
	if err := checkThread(pid); err != nil {
		return err
	}
	if err := checkSelf(pid, st.Comm); err != nil {
		return err
	}
	return checkTracer(pid, st.Comm)
}

// checkThread refuses the number of a thread that leads no process: /proc/TID
// can be opened for it although it is not listed.
func checkThread(pid int) error {
	status, err := proc.ReadStatus(pid)
	if err != nil {
		return fmt.Errorf("%w: process %d: %w", ErrTarget, pid, err)
	}
	if status.ThreadGroup != pid {
		return fmt.Errorf("%w: %d is a thread of process %d: give that", ErrTarget, pid, status.ThreadGroup)
	}
	return nil
}

// checkSelf refuses a tree that this process is part of: it would freeze
// itself.
func checkSelf(pid int, comm string) error {
	if pid == os.Getpid() {
		return fmt.Errorf("%w: process %d is crtime itself", ErrTarget, pid)
	}
	// A parent outside our pid namespace shows as 0 and ends the chain, as does
	// one that is gone.
	for at := os.Getppid(); at > 0; at = parentOf(at) {
		if at == pid {
			return fmt.Errorf("%w: crtime itself runs below process %d (%s) and would freeze with it: run crtime from elsewhere", ErrTarget, pid, comm)
		}
	}
	return nil
}

// parentOf returns a process's parent, 0 if there is none.
func parentOf(pid int) int {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return 0
	}
	return st.PPID
}

// checkTracer refuses a process that a debugger holds: only one can.
func checkTracer(pid int, comm string) error {
	status, err := proc.ReadStatus(pid)
	if err != nil {
		return fmt.Errorf("%w: process %d: %w", ErrTarget, pid, err)
	}
	if status.TracerPID == 0 {
		return nil
	}
	name := "?"
	if tracer, err := proc.ReadStat(status.TracerPID); err == nil {
		name = tracer.Comm
	}
	return fmt.Errorf("%w: process %d (%s) is traced by process %d (%s): detach that first", ErrTarget, pid, comm, status.TracerPID, name)
}
