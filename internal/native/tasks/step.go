// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// errFork says that Do was given a Fork.
var errFork = errors.New("a fork needs memory and is not made by Do")

// Do carries out a step of Births in the stubs, which are kept by process number.
// Fork is the caller's, who puts the new stub into the map; Do takes out those
// that Exit and EndHelper have ended. An *ExitError from an Exit step is not in
// the way of what follows.
func Do(s Step, stubs map[int]*remote.Stub) error {
	if s.PID == 0 && (s.Action == AdoptOrphans || s.Action == StopAdopting) {
		return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, adoption(s), 0, 0, 0)
	}
	stub := stubs[s.PID]
	if stub == nil {
		return fmt.Errorf("there is no stub for process %d", s.PID)
	}
	b := newBatch(stub)
	switch s.Action {
	case Fork:
		return errFork
	case NewSession:
		b.must("found a session").call(unix.SYS_SETSID)
	case SetGroup:
		b.must("join group %d", s.Group).call(unix.SYS_SETPGID, 0, uint64(s.Group))
	case AdoptOrphans, StopAdopting:
		b.must("adopt orphans or not").call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, uint64(adoption(s)))
	case NewKeyring:
		return newKeyring(stub)
	case EndHelper:
		return endHelper(s, stubs)
	case Exit:
		return endZombie(s, stubs)
	}
	return b.run(nil)
}

// endZombie makes a stub a zombie.
func endZombie(s Step, stubs map[int]*remote.Stub) error {
	err := End(stubs[s.PID], s.Name, s.Status)
	var other *ExitError
	if err == nil || errors.As(err, &other) {
		delete(stubs, s.PID)
	}
	return err
}

// adoption is the argument of PR_SET_CHILD_SUBREAPER.
func adoption(s Step) uintptr {
	if s.Action == AdoptOrphans {
		return 1
	}
	return 0
}

// endHelper ends a helper and has its parent collect it. The SIGCHLD that the
// parent gets stays pending until Prepare.
func endHelper(s Step, stubs map[int]*remote.Stub) error {
	if err := stubs[s.PID].Kill(); err != nil {
		return err
	}
	delete(stubs, s.PID)
	if s.Parent == 0 {
		return nil // Whoever waits for its own child collects it.
	}
	parent := stubs[s.Parent]
	if parent == nil {
		return fmt.Errorf("there is no stub for process %d", s.Parent)
	}
	b := newBatch(parent)
	b.must("collect helper %d", s.PID).call(unix.SYS_WAIT4, uint64(s.PID), 0, unix.WALL|unix.WNOHANG, 0)
	if err := b.run(nil); err != nil {
		return err
	}
	if got := b.calls[0].Ret; got != int64(s.PID) {
		return fmt.Errorf("process %d could not collect helper %d: wait4 says %d", s.Parent, s.PID, got)
	}
	return nil
}
