// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procName is the name of a process below /proc; pid 0 is the caller itself.
// A thread's id is as good as a pid here.
func procName(pid int) string {
	if pid == 0 {
		return "self"
	}
	return strconv.Itoa(pid)
}

// IDOf returns the identities of the time namespace that a process lives in and
// of the one that its children will live in, as the inode numbers of its ns/time
// and ns/time_for_children. They differ between unshare and exec, and in a
// Holder's child. Pid 0 is the caller.
//
// Errors: ErrNotSupported (the kernel has no time namespaces), ErrPrivilege (the
// caller may not trace the process), fs.ErrNotExist (no such process).
func IDOf(pid int) (own, forChildren uint64, err error) {
	if own, err = linkID(pid, "time"); err != nil {
		return 0, 0, err
	}
	if forChildren, err = linkID(pid, "time_for_children"); err != nil {
		return 0, 0, err
	}
	return own, forChildren, nil
}

// linkID reads one of a process's namespace links, such as "time:[4026531834]".
func linkID(pid int, name string) (uint64, error) {
	path := "/proc/" + procName(pid) + "/ns/" + name
	link, err := os.Readlink(path)
	if err != nil {
		return 0, lookError("find the time namespace of process "+procName(pid), procName(pid), err)
	}
	text, found := strings.CutPrefix(link, "time:[")
	text, closed := strings.CutSuffix(text, "]")
	id, err := strconv.ParseUint(text, 10, 64)
	if !found || !closed || err != nil {
		return 0, fmt.Errorf("find the time namespace of process %s: %s reads %q, want time:[NUMBER]", procName(pid), path, link)
	}
	return id, nil
}

// openNamespace opens one of a process's namespace links. The caller closes it.
func openNamespace(pid int, name string) (*os.File, error) {
	path := "/proc/" + procName(pid) + "/ns/" + name
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &os.PathError{Op: "open", Path: path, Err: err}
		return nil, lookError("open the time namespace of process "+procName(pid), procName(pid), err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// fileID returns the identity of an open namespace.
func fileID(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("identify the time namespace %s: fstat: %w", f.Name(), err)
	}
	return st.Ino, nil
}
