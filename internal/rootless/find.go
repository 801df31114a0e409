// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// Keeper is one that keeps somebody else's process.
type Keeper struct {
	PID int // As the caller sees it.
}

// Find finds the keeper of a process, and the number that the process has inside. nil:
// it lives in the caller's own user namespace, or nobody keeps it.
func Find(pid int) (*Keeper, int, error) {
	if !elsewhere(pid) {
		return nil, 0, nil
	}
	status, err := proc.ReadStatus(pid)
	if err != nil {
		return nil, 0, err
	}
	if len(status.NSPids) < 2 {
		return nil, 0, nil
	}
	inside := status.NSPids[len(status.NSPids)-1]
	for at := pid; at > 1; {
		status, err := proc.ReadStatus(at)
		if err != nil {
			return nil, 0, err
		}
		if n := len(status.NSPids); n > 0 && status.NSPids[n-1] == 1 {
			k := &Keeper{PID: at}
			conn, err := k.dial()
			if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
				return nil, 0, nil // The first process of something else, or another user's.
			}
			if err != nil {
				return nil, 0, err
			}
			return k, inside, conn.Close()
		}
		stat, err := proc.ReadStat(at)
		if err != nil {
			return nil, 0, err
		}
		at = stat.PPID
	}
	return nil, 0, nil
}

// elsewhere reports whether a process lives in another user namespace than the caller.
// Of one that cannot be seen (it is gone, or somebody else's) others say so.
func elsewhere(pid int) bool {
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false // There are no user namespaces.
	}
	its, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/user")
	return err == nil && own != its
}

// dial connects to a keeper, and makes sure that it is one: the process of that number,
// of the caller's own user.
func (k *Keeper) dial() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	conn := os.NewFile(uintptr(fd), "keeper")
	at, err := address(k.PID)
	if err == nil {
		err = unix.Connect(fd, at)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("reach the keeper, process %d: %w", k.PID, err)
	}
	cred, err := peer(conn)
	if err == nil && (int(cred.Pid) != k.PID || int(cred.Uid) != os.Geteuid()) {
		err = fmt.Errorf("process %d keeps what belongs to user %d: run crtime as that user", k.PID, cred.Uid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Run is a crtime that a keeper runs. It ends with the process that has asked for it.
type Run struct {
	keeper int
	conn   *os.File
}

// Run has the keeper run crtime among the processes that it keeps, with these arguments
// and the caller's standard streams, environment and working directory. The caller
// calls Wait.
func (k *Keeper) Run(args []string) (*Run, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	conn, err := k.dial()
	if err != nil {
		return nil, err
	}
	r := request{Args: args, Env: os.Environ(), Dir: dir}
	if err := send(conn, r, []*os.File{os.Stdin, os.Stdout, os.Stderr}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask the keeper, process %d: %w", k.PID, err)
	}
	return &Run{k.PID, conn}, nil
}

// Signal sends it a signal.
func (r *Run) Signal(s os.Signal) error {
	number, ok := s.(unix.Signal)
	if !ok {
		return fmt.Errorf("signal %v has no number", s)
	}
	return send(r.conn, request{Signal: int(number)}, nil)
}

// Wait waits for its end and returns its status, as a shell has it.
func (r *Run) Wait() (int, error) {
	defer r.conn.Close()
	var a answer
	if _, err := receive(r.conn, &a); err != nil {
		return 0, fmt.Errorf("the keeper, process %d, has ended: %w", r.keeper, err)
	}
	if a.Err != "" {
		return 0, fmt.Errorf("the keeper, process %d: %s", r.keeper, a.Err)
	}
	return a.Status, nil
}

// Outside is the caller's number for a process that a keeper has inside.
func Outside(keeper, inside int) (int, error) {
	tree, err := proc.Scan(keeper)
	if err != nil {
		return 0, err
	}
	for _, pid := range tree.PIDs() {
		status, err := proc.ReadStatus(pid)
		if err != nil {
			continue // It has ended.
		}
		if n := len(status.NSPids); n > 0 && status.NSPids[n-1] == inside {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d of those that process %d keeps: %w", inside, keeper, proc.ErrGone)
}
