// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Feature is one answer of Probe.
type Feature struct {
	// Works says that it was tried and worked.
	Works bool
	// Err is why it does not: ErrNotSupported is the kernel's definite no,
	// ErrPrivilege the caller's lack of a capability; anything else means that
	// it could not be found out. Nil if it works.
	Err error
}

// feature makes an answer of a trial's error.
func feature(err error) Feature { return Feature{Works: err == nil, Err: err} }

// Support says what this kernel lets this process do with time namespaces.
type Support struct {
	// Namespaces: time namespaces exist (Linux 5.6, CONFIG_TIME_NS).
	Namespaces Feature
	// Clone3: a clone3(CLONE_NEWTIME|CLONE_VM) child stays outside until exec
	// and its offsets can be written meanwhile. The fast way to create.
	Clone3 Feature
	// Unshare: a thread can unshare(CLONE_NEWTIME) and write the offsets. The
	// way to create where Clone3 does not work.
	Unshare Feature
	// Setns: a single-threaded child can enter an existing time namespace, as
	// Run and late joining need.
	Setns Feature
	// SetTID: clone3 can give a child the pid that is asked for, as restoring
	// processes needs (Linux 5.5; CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE).
	SetTID Feature
}

// CanCreate says whether NewHolder and Start can work.
func (s Support) CanCreate() bool { return s.Clone3.Works || s.Unshare.Works }

// Probe finds out what works, by trying each thing on throw-away children that
// never execute anything: versions lie, and Linux 6.1 accepts flags that it does
// not honour. It takes about a millisecond. Nothing is cached, as the answers
// change with the caller's capabilities. The error is not nil only if time
// namespaces exist or not could not be found out; what is missing is in Support.
func Probe() (Support, error) {
	_, _, err := IDOf(0)
	s := Support{Namespaces: feature(err)}
	if err != nil {
		s.Clone3, s.Unshare, s.Setns = s.Namespaces, s.Namespaces, s.Namespaces
		s.SetTID = feature(probeSetTID())
		if errors.Is(err, ErrNotSupported) {
			err = nil
		}
		return s, err
	}
	s.Clone3 = feature(probeCreate(newChildHolder))
	s.Unshare = feature(probeCreate(newThreadHolder))
	s.Setns = feature(probeSetns())
	s.SetTID = feature(probeSetTID())
	return s, nil
}

// probeCreate makes a namespace and writes offsets into it: the write is the
// proof, not the success of the call that created it.
func probeCreate(create func() (*Holder, error)) error {
	h, err := create()
	if err != nil {
		return err
	}
	defer h.Close()
	o, err := ReadOffsets(0)
	if err != nil {
		return err
	}
	// One nanosecond more stays in range, and the range is half of what Nanos
	// can hold.
	o.Monotonic++
	return h.SetOffsets(o)
}

// probeSetns lets a child enter the namespace that it is in anyway.
func probeSetns() error {
	ns, err := openNamespace(0, "time")
	if err != nil {
		return err
	}
	defer ns.Close()
	w, err := newWaiter(forkInto(ns))
	if err != nil {
		return err
	}
	w.dismiss()
	return nil
}

// probeSetTID makes a child, and another with the pid of the first. Somebody
// else can take that pid in between, hence the second attempt.
func probeSetTID() error {
	var err error
	for range 2 {
		if err = trySetTID(); !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	return err
}

// trySetTID is one attempt of probeSetTID.
func trySetTID() error {
	plain := how{clone3: unix.CLONE_VM | unix.CLONE_CLEAR_SIGHAND}
	w, err := newWaiter(plain)
	if err != nil {
		return createError("clone3 with CLONE_VM", err)
	}
	pid := w.process.PID
	w.dismiss()
	chosen := plain
	chosen.setTID = int32(pid)
	w, err = newWaiter(chosen)
	switch errnoOf(err) {
	case 0:
	case unix.EPERM:
		err = &reasonError{ErrPrivilege, err, "choosing a pid needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE"}
	case unix.EINVAL, unix.E2BIG, unix.ENOSYS:
		err = &reasonError{ErrNotSupported, err, "clone3 with set_tid needs Linux 5.5"}
	}
	if err != nil {
		return fmt.Errorf("clone3 with pid %d: %w", pid, err)
	}
	w.dismiss()
	return nil
}
