// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrThreaded says that a process has several threads, or shares its memory with
// another process: the kernel lets neither change its time namespace.
var ErrThreaded = errors.New("it has more than one thread, or shares its memory with another process, and the kernel lets only a process that is alone in its memory change its time namespace")

// JoinError says that a process could not enter a time namespace. It is outside
// then, and has no descriptor of it.
type JoinError struct {
	PID  int
	Call string // What failed.
	Err  error  // ErrThreaded or an errno.
}

func (e *JoinError) Error() string {
	hint := ""
	switch {
	case errors.Is(e.Err, unix.EMFILE):
		hint = "; it needs two free descriptors below its hard RLIMIT_NOFILE: let it join before its limits are set"
	case errors.Is(e.Err, unix.EPERM):
		hint = "; it needs CAP_SYS_ADMIN and the right to trace crtime: let it join before its credentials are set"
	}
	return fmt.Sprintf("process %d cannot enter the time namespace: %s: %s%s", e.PID, e.Call, e.Err, hint)
}

// Unwrap gives the cause.
func (e *JoinError) Unwrap() error { return e.Err }

// Join has the stub enter the time namespace that ns is a descriptor of (that of
// timens.Holder.FD). The stub must have one thread only, and still crtime's
// credentials. Its first join freezes the namespace's offsets.
//
// It gets at the namespace through two descriptors of its own that are closed
// again: its root and working directory do not matter, and a soft RLIMIT_NOFILE
// that leaves no room is raised meanwhile. The error is a *JoinError, or that of
// Run.
func (s *Stub) Join(ns *os.File) error { return JoinAll([]*Stub{s}, ns) }

// JoinAll is Join for several processes at the same time. Whatever the error, the
// others have joined; it joins those of all.
func JoinAll(stubs []*Stub, ns *os.File) error {
	var want unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &want); err != nil {
		return fmt.Errorf("identify the time namespace: %w", os.NewSyscallError("fstat", err))
	}
	batches := make([]Batch, len(stubs))
	for i, s := range stubs {
		calls, err := s.joinCalls(int(ns.Fd()))
		if err != nil {
			return err
		}
		batches[i] = Batch{Runner: s.Runner, Calls: calls}
	}
	if err := RunAll(batches); err != nil {
		return fmt.Errorf("enter the time namespace: %w", err)
	}
	var errs []error
	for i, s := range stubs {
		if err := joined(s.PID(), batches[i].Calls, &want); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// UnshareAll has stubs make time namespaces for their children. They stay where they
// are. Their threads to come share that choice.
func UnshareAll(stubs []*Stub) error {
	batches := make([]Batch, len(stubs))
	for i, s := range stubs {
		batches[i] = Batch{Runner: s.Runner, Calls: []Call{
			{Name: "unshare the time namespace", Nr: unix.SYS_UNSHARE, Args: [6]uint64{unix.CLONE_NEWTIME}},
		}}
	}
	return RunAll(batches)
}

// Places in the batch that joins, counted from 1.
const (
	joinRaise = 3 // prlimit64.
	joinOpen  = 4 // pidfd_open.
	joinFetch = 5 // pidfd_getfd.
	joinEnter = 6 // setns.
	joinLower = 9 // prlimit64.
)

// limitSize is the size of struct rlimit64: the soft limit, then the hard one.
const limitSize = 16

// joinCalls is the batch that joins. None of its calls ends it: what was opened
// is closed, and the limit put back, however far it came. A call that is given
// another one's error for a descriptor does nothing but fail.
func (s *Stub) joinCalls(ns int) ([]Call, error) {
	used := s.used
	defer func() { s.used = used }()
	own, err := s.Alloc(limitSize + wordSize)
	if err != nil {
		return nil, err
	}
	// Asked for a second time, one word lower, the limit leaves its own copy in
	// front and behind it twice the hard limit: what the soft one is set to.
	raised := own + wordSize
	limit := func(name string, set, get uint64) Call {
		return Call{Name: name, Nr: unix.SYS_PRLIMIT64, Args: [6]uint64{0, unix.RLIMIT_NOFILE, set, get}}
	}
	calls := []Call{
		limit("read the limit on descriptors", 0, raised),
		limit("read the limit on descriptors", 0, own),
		limit("raise the limit on descriptors", raised, 0),
		{Name: "pidfd_open of crtime", Nr: unix.SYS_PIDFD_OPEN, Args: [6]uint64{uint64(os.Getpid())}},
		{Name: "pidfd_getfd of the namespace", Nr: unix.SYS_PIDFD_GETFD, Args: [6]uint64{0, uint64(ns)}, From: [6]uint8{joinOpen}},
		{Name: "setns", Nr: unix.SYS_SETNS, Args: [6]uint64{0, unix.CLONE_NEWTIME}, From: [6]uint8{joinFetch}},
		{Name: "close the namespace's descriptor", Nr: unix.SYS_CLOSE, From: [6]uint8{joinFetch}},
		{Name: "close crtime's descriptor", Nr: unix.SYS_CLOSE, From: [6]uint8{joinOpen}},
		limit("put back the limit on descriptors", own, 0),
	}
	return calls, nil
}

// joined says whether a process is where the batch should have taken it: the
// kernel's word alone is not enough, for there are descriptors with which setns
// succeeds and leads elsewhere.
func joined(pid int, calls []Call, want *unix.Stat_t) error {
	for i, c := range calls {
		switch err := c.Err(); {
		case err == nil:
		case i+1 == joinRaise || i+1 == joinLower && calls[joinRaise-1].failed():
			// A limit above the system's own (fs.nr_open) cannot be set, not even to
			// what it is. Then it stays, and may be high enough.
		case i+1 == joinEnter && errors.Is(err, unix.EUSERS):
			return &JoinError{PID: pid, Call: c.Name, Err: ErrThreaded}
		default:
			return &JoinError{PID: pid, Call: c.Name, Err: unix.Errno(-c.Ret)}
		}
	}
	for _, link := range []string{"time", "time_for_children"} {
		var st unix.Stat_t
		file := fmt.Sprintf("/proc/%d/ns/%s", pid, link)
		if err := unix.Stat(file, &st); err != nil {
			return &JoinError{PID: pid, Call: "stat " + file, Err: err}
		}
		if st.Ino != want.Ino || st.Dev != want.Dev {
			return fmt.Errorf("process %d: setns succeeded, but %s is not the namespace that was to be entered", pid, file)
		}
	}
	return nil
}
