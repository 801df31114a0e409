// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/proc"
)

// fileLimits are the options that concern open files.
func fileLimits(o engine.Options) files.Limits {
	return files.Limits{
		GhostBytes: int64(o.GhostLimit),
		FileLocks:  o.FileLocks,
		LinkRemap:  o.LinkRemap,
		ShellJob:   o.ShellJob,
		ExtUnixSk:  o.ExtUnixSk,
	}
}

// surveyNamespaces names threads that live in other namespaces than crtime: they
// are rebuilt in crtime's. Time namespaces are what crtime is for: each process may
// live in its own, and have made another for its children, if its threads agree.
func surveyNamespaces(pids []int) ([]engine.Obstacle, error) {
	return strangers(pids, proc.Threads)
}

// strangers is surveyNamespaces for those threads of each process that list gives.
func strangers(pids []int, list func(pid int) ([]int, error)) ([]engine.Obstacle, error) {
	own, err := ownNamespaces()
	if err != nil {
		return nil, err
	}
	var found []engine.Obstacle
	for _, pid := range pids {
		if err := own.takeTimeOf(pid); err != nil {
			return nil, err
		}
		threads, err := list(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, tid := range threads {
			o, err := own.differs(pid, tid)
			if err != nil {
				return nil, err
			}
			if o != nil {
				found = append(found, *o)
				break // One for a process is enough.
			}
		}
	}
	return found, nil
}

// namespaces are the links in /proc/PID/ns and what they say; kinds that this
// kernel does not have are missing.
type namespaces map[string]string

// namespaceKinds are the links that count, and what to call them.
func namespaceKinds() map[string]string {
	return map[string]string{
		"cgroup": "cgroup", "ipc": "IPC", "mnt": "mount", "net": "network", "pid": "pid", "pid_for_children": "pid",
		"user": "user", "uts": "UTS", "time": "time", "time_for_children": "time",
	}
}

// ownNamespaces are those of crtime.
func ownNamespaces() (namespaces, error) {
	own := namespaces{}
	for link := range namespaceKinds() {
		text, err := os.Readlink("/proc/self/ns/" + link)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		own[link] = text
	}
	return own, nil
}

// takeTimeOf replaces the time namespaces by those of a process's first thread.
func (n namespaces) takeTimeOf(pid int) error {
	for _, link := range []string{"time", "time_for_children"} {
		if _, ok := n[link]; !ok {
			return nil
		}
		text, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, link))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return nil // It has ended.
		}
		if err != nil {
			return &ptrace.PermissionError{TID: pid}
		}
		n[link] = text
	}
	return nil
}

// differs says in which namespace a thread is that it should not be in; nil: none.
func (n namespaces) differs(pid, tid int) (*engine.Obstacle, error) {
	dir, err := unix.Open(fmt.Sprintf("/proc/%d/task/%d/ns", pid, tid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, fs.ErrNotExist):
		return nil, nil // It has ended.
	case errors.Is(err, fs.ErrPermission):
		return nil, &ptrace.PermissionError{TID: tid}
	case err != nil:
		return nil, fmt.Errorf("look at the namespaces of thread %d: %w", tid, err)
	}
	defer unix.Close(dir)
	for link, want := range n {
		var buf [64]byte // Of "pid_for_children:[4026531836]" and its like.
		size, err := unix.Readlinkat(dir, link, buf[:])
		text := buf[:max(size, 0)]
		switch {
		case errors.Is(err, unix.ESRCH):
			return nil, nil // It has ended.
		case errors.Is(err, fs.ErrNotExist):
			// A thread that has unshared its pid namespace has no such link until its
			// first child is born.
			if _, err := os.Lstat(fmt.Sprintf("/proc/%d/task/%d", pid, tid)); err != nil || link != "pid_for_children" {
				continue
			}
			text = []byte("none yet")
		case errors.Is(err, fs.ErrPermission):
			return nil, &ptrace.PermissionError{TID: tid}
		case err != nil:
			return nil, fmt.Errorf("look at the %s namespace of thread %d: %w", link, tid, err)
		}
		if string(text) != want {
			return namespaceObstacle(pid, tid, link), nil
		}
	}
	return nil, nil
}

// namespaceObstacle explains one.
func namespaceObstacle(pid, tid int, link string) *engine.Obstacle {
	o := &engine.Obstacle{
		PID: pid, Comm: comm(pid), What: namespaceKinds()[link] + " namespace of its own",
		Why: "containers are dumped by CRIU (--engine criu)",
	}
	if tid != pid {
		o.What += fmt.Sprintf(" (thread %d)", tid)
	}
	if namespaceKinds()[link] == "time" {
		o.What = fmt.Sprintf("thread %d with another time namespace than its process, or another one for its children", tid)
		o.Why = "the threads of a process must have them in common"
	}
	return o
}

// optionObstacles are the options that ask for something that this engine does
// not do, for a tree with this root.
func optionObstacles(root int, comm string, o engine.Options) []engine.Obstacle {
	var found []engine.Obstacle
	refuse := func(asked bool, what string) {
		if asked {
			found = append(found, engine.Obstacle{
				PID: root, Comm: comm, What: what, Why: "the native engine does not have it; use --engine criu",
			})
		}
	}
	refuse(len(o.External) > 0, "request for external objects (--external)")
	refuse(o.Root != "", "root file system of its own (--root)")
	refuse(o.ManageCgroups != "" && o.ManageCgroups != "ignore" && o.ManageCgroups != "none", "request to save cgroups (--manage-cgroups)")
	return found
}

// warnOfOptions says which options have no effect.
func warnOfOptions(log *zap.Logger, o engine.Options) {
	if o.WorkDir != "" || o.LogFile != "" || o.Verbosity > 0 {
		log.Warn("the native engine writes no log of its own: --work-dir, --log-file and --verbosity are for CRIU; see --log-level")
	}
}

// comm is a process's name for messages.
func comm(pid int) string {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return "?"
	}
	return st.Comm
}
