// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// KeeperCommand is the argument with which crtime becomes a keeper.
const KeeperCommand = "keeper"

// ErrNamespaces says that this user may not make namespaces here.
var ErrNamespaces = errors.New("this user cannot have namespaces of his own here")

// Job is what a keeper is started for.
type Job struct {
	// Args are a program and its arguments or, with Restore, arguments of crtime that
	// restore a tree, detached.
	Args    []string
	Restore bool
}

// Begun is what a keeper has started.
type Begun struct {
	// PID is the program's number inside, or that of the restored tree's root. 0: the
	// restore has failed, and said why; Status is what it ended with.
	PID    int
	Status int
}

// Start starts a keeper with a job, in namespaces of its own, and returns when the
// program runs. It has the caller's standard streams and working directory.
//
// The error is ErrNamespaces if the kernel does not let the user have them, or what the
// keeper says. The caller waits for the keeper, or lets it go.
func Start(job Job) (*os.Process, Begun, error) {
	if err := checkUser(os.Geteuid()); err != nil {
		return nil, Begun{}, err
	}
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, Begun{}, err
	}
	defer ours.Close()
	defer theirs.Close()
	capabilities, err := allCapabilities()
	if err != nil {
		return nil, Begun{}, err
	}
	cmd := exec.Command("/proc/self/exe", KeeperCommand) //nolint:noctx // It outlives its caller.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
		AmbientCaps: capabilities,
	}
	if err := cmd.Start(); err != nil {
		return nil, Begun{}, namespacesError(err)
	}
	theirs.Close()
	begun, err := order(ours, cmd.Process.Pid, job)
	if err != nil {
		_ = cmd.Process.Kill() // It may have ended already.
		_, _ = cmd.Process.Wait()
		return nil, Begun{}, err
	}
	return cmd.Process, begun, nil
}

// checkUser refuses the user by whose number everybody goes that is not known in a user
// namespace: a keeper could not tell him from others.
func checkUser(uid int) error {
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(text)) == strconv.Itoa(uid) {
		return fmt.Errorf("%w: user %d stands for all who are not known inside: run it as another user", ErrNamespaces, uid)
	}
	return nil
}

// order tells a keeper what to do, and waits until it has begun.
func order(control *os.File, pid int, job Job) (Begun, error) {
	if err := send(control, opening{Number: pid, Job: job}, nil); err != nil {
		return Begun{}, fmt.Errorf("tell the keeper what to do: %w", err)
	}
	var a answer
	if _, err := receive(control, &a); err != nil {
		return Begun{}, fmt.Errorf("the keeper has ended: %w", err)
	}
	if a.Err != "" {
		if a.Refused {
			return Begun{}, fmt.Errorf("%w: %s", ErrNamespaces, a.Err)
		}
		return Begun{}, errors.New(a.Err)
	}
	return Begun{PID: a.PID, Status: a.Status}, nil
}

// namespacesError explains why a keeper could not be made.
func namespacesError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w: unprivileged user namespaces are switched off (kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or crtime runs in a chroot", ErrNamespaces, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%w: %w: the limit is reached (user.max_user_namespaces, user.max_pid_namespaces)", ErrNamespaces, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %w: the kernel has no user namespaces (CONFIG_USER_NS)", ErrNamespaces, err)
	default:
		return fmt.Errorf("start a keeper: %w", err)
	}
}

// allCapabilities are the numbers of all that the kernel has. Inside a user namespace
// they mean little by themselves.
func allCapabilities() ([]uintptr, error) {
	const file = "/proc/sys/kernel/cap_last_cap"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 6)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []uintptr
	for c := range last + 1 {
		all = append(all, uintptr(c))
	}
	return all, nil
}

// InForeground reports whether this process's group has the foreground of the terminal
// that is its standard input, so that what is typed there signals all of the group.
func InForeground() bool {
	group, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
