// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// Install gives a process its descriptors, exactly those recorded, and its
// working and root directory. Every process of the tree must exist. Every
// descriptor that it has is closed first, so all else that needs one must be
// done. The umask is not touched.
func (r *Rebuild) Install(pid int, stub *remote.Runner) error { return r.install(pid, stub) }

func (r *Rebuild) install(pid int, stub runner) error {
	p := r.set.Process[uint32(pid)]
	if p == nil {
		return fmt.Errorf("install the files of process %d: the images have no such process", pid)
	}
	if err := r.openLate(); err != nil {
		return err
	}
	var list []wanted
	for _, e := range p.Fdinfo {
		own, ok := r.fds[e.GetId()]
		if !ok {
			return fmt.Errorf("install descriptor %d of process %d: file %d is not open", e.GetFd(), pid, e.GetId())
		}
		list = append(list, wanted{fd: int(e.GetFd()), own: own, cloexec: e.GetFlags()&fdCloexec != 0})
	}
	undo, err := allowDescriptors(pid, list)
	if err != nil {
		return err
	}
	r.process = stub
	err = r.runAndReset(r.installCalls(p, list))
	if err == nil {
		err = r.perFile(p, stub, r.installFile)
	}
	if err == nil {
		r.process = stub
		err = r.runAndReset(r.fileLocks(uint32(pid)), nil)
	}
	if err = errors.Join(err, undo()); err != nil {
		return fmt.Errorf("install the files of process %d: %w", pid, err)
	}
	return nil
}

// Arm starts what is to be started last, after the time namespace was joined
// and all threads of all processes exist: timers, POSIX locks, the owners of
// files. No descriptor may be closed in the process afterwards.
func (r *Rebuild) Arm(pid int, stub *remote.Runner) error { return r.arm(pid, stub) }

func (r *Rebuild) arm(pid int, stub runner) error {
	p := r.set.Process[uint32(pid)]
	if p == nil {
		return fmt.Errorf("arm the files of process %d: the images have no such process", pid)
	}
	err := r.perFile(p, stub, r.armFile)
	r.process = stub
	defer func() { r.process = nil }()
	if err == nil {
		err = r.runAndReset(nil, r.foreground(uint32(pid), stub))
	}
	if err == nil {
		err = r.runAndReset(r.posixLocks(uint32(pid)))
	}
	if err != nil {
		return fmt.Errorf("arm the files of process %d: %w", pid, err)
	}
	return nil
}

// perFile lets f make the calls for each file of which the process is the first
// holder.
func (r *Rebuild) perFile(p *criuimg.Process, stub runner, f func(e *fdinfo.FileEntry, fd int) error) error {
	r.process = stub
	defer func() { r.process = nil }()
	for _, d := range p.Fdinfo {
		if h := r.index.holders[d.GetId()]; int(h.pid) != stub.PID() || h.fd != d.GetFd() {
			continue
		}
		e := r.index.files[d.GetId()]
		if err := f(e, int(d.GetFd())); err != nil {
			return fmt.Errorf("%s: %w", r.describe(e), err)
		}
	}
	return nil
}

// installFile makes the calls of an installer, and sets O_ASYNC.
func (r *Rebuild) installFile(e *fdinfo.FileEntry, fd int) error {
	if i, ok := kindFor(e.GetType()).(installer); ok {
		if err := r.runAndReset(i.install(r, e, fd)); err != nil {
			return err
		}
	}
	flags := flagsOf(r.index.carrier(e))
	if flags&unix.O_ASYNC == 0 {
		return nil
	}
	return r.process.Run([]remote.Call{{
		Name: "set O_ASYNC", Nr: unix.SYS_FCNTL, Must: true,
		Args: [6]uint64{uint64(fd), unix.F_SETFL, uint64(flags & (statusFlags | unix.O_ASYNC))},
	}})
}

// armFile sets the owner of a file and starts it.
func (r *Rebuild) armFile(e *fdinfo.FileEntry, _ int) error {
	if owner := ownerOf(r.index.carrier(e)); owner != nil {
		if err := setOwner(r.fds[e.GetId()], owner); err != nil {
			return err
		}
	}
	if a, ok := kindFor(e.GetType()).(armer); ok {
		return a.arm(r, e, r.fds[e.GetId()])
	}
	return nil
}

// runAndReset makes calls in the current process and takes back the memory that
// they used.
func (r *Rebuild) runAndReset(calls []remote.Call, err error) error {
	if err == nil && len(calls) > 0 {
		err = r.process.Run(calls)
	}
	r.process.Reset()
	return err
}

// place puts bytes into the memory of the process whose install or arm is
// running, for its calls to point to. They stay until that has returned and its
// calls are made.
func (r *Rebuild) place(p []byte) (uint64, error) {
	addr, err := r.process.Alloc(len(p))
	if err != nil {
		return 0, err
	}
	return addr, r.process.Write(addr, p)
}

// installCalls is all that gives a process its directories and descriptors, to be
// made at one stop: closing what it has, and then the rest.
func (r *Rebuild) installCalls(p *criuimg.Process, list []wanted) ([]remote.Call, error) {
	calls := []remote.Call{{
		Name: "close all descriptors", Nr: unix.SYS_CLOSE_RANGE, Args: [6]uint64{0, uint64(^uint32(0)), 0}, Must: true,
	}}
	if p.FS != nil {
		enter, err := r.enterDirectories(p)
		if err != nil {
			return nil, err
		}
		calls = append(calls, enter...)
	}
	if len(list) > 0 {
		calls = append(calls, descriptorPlan(os.Getpid(), list)...)
	}
	return calls, nil
}

// enterDirectories is the calls that make a process enter its root and working
// directory. Only a root other than crtime's own needs chroot.
func (r *Rebuild) enterDirectories(p *criuimg.Process) ([]remote.Call, error) {
	root, err := r.index.regular(p.FS.GetRootId())
	if err != nil {
		return nil, err
	}
	cwd, err := r.Open(p.FS.GetCwdId(), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	var calls []remote.Call
	if root.GetName() != "/" {
		top, err := r.Open(p.FS.GetRootId(), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		dot, err := r.place([]byte(".\x00"))
		if err != nil {
			return nil, err
		}
		calls = append(enter(top, "root"), remote.Call{
			Name: "chroot to " + root.GetName(), Nr: unix.SYS_CHROOT, Args: [6]uint64{dot}, Must: true,
		})
	}
	return append(calls, enter(cwd, "working")...), nil
}

// enter is the calls by which a process without descriptors makes one of
// crtime's directories its working directory.
func enter(own int, what string) []remote.Call {
	p := &planner{pidfd: 0}
	p.must("open the restorer", unix.SYS_PIDFD_OPEN, uint64(os.Getpid()), 0)
	p.must("fetch the "+what+" directory", unix.SYS_PIDFD_GETFD, 0, uint64(own), 0)
	p.must("enter the "+what+" directory", unix.SYS_FCHDIR, 1)
	p.must("close the "+what+" directory", unix.SYS_CLOSE, 1)
	p.must("close the restorer's descriptor", unix.SYS_CLOSE, 0)
	return p.calls
}
