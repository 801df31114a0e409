// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrGone says that a process or thread does not exist (any more).
var ErrGone = errors.New("no such process")

// State is the one-letter state of a thread as /proc/PID/stat shows it; the
// letters are those of proc_pid_stat(5).
type State byte

// The states that this project asks about.
const (
	Stopped State = 'T' // By a signal.
	Traced  State = 't' // By a tracer.
	Zombie  State = 'Z'
	Dead    State = 'X'
)

// Stat holds the fields of /proc/PID/stat that crtime uses.
type Stat struct {
	PID    int
	Comm   string
	State  State
	PPID   int
	PGID   int
	SID    int
	Flags  uint64
	UTime  uint64 // CPU time in user mode, in clock ticks (USER_HZ, 100 a second).
	STime  uint64 // CPU time in kernel mode, in clock ticks.
	NumThr int
	// StartTime is in clock ticks since boot on the BOOTTIME of the *reader's*
	// time namespace: compare it only with another value read in the same one.
	StartTime uint64
}

// kernelThread is PF_KTHREAD of the kernel's include/linux/sched.h, which
// field 9 of /proc/PID/stat shows.
const kernelThread = 0x00200000

// KernelThread reports whether the task is a kernel thread.
func (s *Stat) KernelThread() bool { return s.Flags&kernelThread != 0 }

// ReadStat reads /proc/PID/stat. The error is ErrGone when there is no such
// process.
func ReadStat(pid int) (*Stat, error) {
	data, err := readTask(pid, "stat")
	if err != nil {
		return nil, err
	}
	return ParseStat(data)
}

// ParseStat parses the one line of a stat file. The command's name stands in
// parentheses and may itself hold spaces, parentheses and newlines, so the
// fields are counted from the last closing one.
func ParseStat(data []byte) (*Stat, error) {
	open := bytes.IndexByte(data, '(')
	end := bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return nil, fmt.Errorf("stat line without a command's name: %q", clip(data))
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data[:open])))
	if err != nil {
		return nil, fmt.Errorf("stat line with a bad pid: %q", clip(data))
	}
	// fields[i] is the field that proc_pid_stat(5) numbers i+3.
	fields := bytes.Fields(data[end+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return nil, fmt.Errorf("stat line of process %d has too few fields: %q", pid, clip(data))
	}
	s := &Stat{PID: pid, Comm: string(data[open+1 : end]), State: State(fields[0][0])}
	for _, f := range []struct {
		number int
		into   *int
	}{{4, &s.PPID}, {5, &s.PGID}, {6, &s.SID}, {20, &s.NumThr}} {
		if *f.into, err = strconv.Atoi(string(fields[f.number-3])); err != nil {
			return nil, fmt.Errorf("stat line of process %d, field %d: %w", pid, f.number, err)
		}
	}
	for _, f := range []struct {
		number int
		into   *uint64
	}{{9, &s.Flags}, {14, &s.UTime}, {15, &s.STime}, {22, &s.StartTime}} {
		if *f.into, err = strconv.ParseUint(string(fields[f.number-3]), 10, 64); err != nil {
			return nil, fmt.Errorf("stat line of process %d, field %d: %w", pid, f.number, err)
		}
	}
	return s, nil
}

// readTask reads a file of a process or thread. While exec is called by a thread that is
// not the first of its process, the kernel has that one take the first one's place, and
// once in some thousand times says in the middle of it that there is no such process. So
// it is asked again about one that exists.
func readTask(pid int, name string) ([]byte, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/" + name
	const attempts = 3
	for i := 1; ; i++ {
		data, err := ReadFile(path)
		if !errors.Is(err, ErrGone) || i == attempts || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return data, err
		}
	}
}

// ReadFile reads a file below /proc whole. The error is ErrGone when there is no
// such file, because its process has ended. A process can go away between open and
// read, which the kernel reports as ESRCH.
//
// It does without os.File, which makes eight more system calls for each file:
// many are read while a tree stands still.
func ReadFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, readError(path, err)
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 2048)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		if err != nil {
			return nil, readError(path, err)
		}
		if n == 0 {
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = slices.Grow(data, cap(data))
		}
	}
}

// readError gives the error of a system call about a file its name.
func readError(path string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%s: %w", path, ErrGone)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// clip shortens a line for an error message.
func clip(b []byte) []byte {
	const most = 80
	if len(b) > most {
		return b[:most]
	}
	return b
}
