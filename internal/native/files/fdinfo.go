// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fdinfoText is /proc/PID/fdinfo/FD, parsed. The format is in the kernel's
// Documentation/filesystems/proc.rst, section 3.8.
type fdinfoText struct {
	pos   int64    // -1 stands for "unknown" where the kernel prints a huge number.
	flags uint32   // As F_GETFL tells, with O_CLOEXEC for the descriptor's own flag.
	mntID int      // Mount, as in mountinfo.
	ino   uint64   // 0 on kernels that do not print it (before 5.14).
	locks []string // Each "lock:" line, without that word.
	rest  []string // The lines that belong to one kind of file, in order.
}

// cloexec reports whether the descriptor is closed by an exec.
func (t *fdinfoText) cloexec() bool { return t.flags&unix.O_CLOEXEC != 0 }

// readFdinfo reads and parses the file of one descriptor.
func readFdinfo(pid, fd int) (*fdinfoText, error) {
	t, err := fdinfoAt(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/fdinfo/"+strconv.Itoa(fd))
	if err != nil {
		return nil, fmt.Errorf("look at descriptor %d of process %d: %w", fd, pid, err)
	}
	return t, nil
}

// fdinfoAt reads and parses a file of a directory that is open.
func fdinfoAt(dir int, name string) (*fdinfoText, error) {
	data, err := readWhole(dir, name)
	if err != nil {
		return nil, err
	}
	return parseFdinfo(data)
}

// readWhole reads a file of /proc that the kernel makes at one go (single_open),
// so that a read which does not fill the buffer was the last. It makes a third of
// the system calls of os.ReadFile, and there are as many such files as open ones.
func readWhole(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n < cap(data)-len(data):
			return data[:len(data)+n], nil
		default:
			data = data[:len(data)+n]
			data = slices.Grow(data, len(data))
		}
	}
}

// parseFdinfo parses a fdinfo file. Lines it does not know are kept in rest.
func parseFdinfo(data []byte) (*fdinfoText, error) {
	t := &fdinfoText{}
	seen := make(map[string]bool, 4) //nolint:mnd // pos, flags, mnt_id, ino.
	for line := range bytes.Lines(data) {
		text := strings.TrimSuffix(string(line), "\n")
		name, value, ok := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		if !ok {
			t.rest = append(t.rest, text)
			continue
		}
		var err error
		switch {
		case name == "pos" && !seen[name]:
			t.pos, err = parsePosition(value)
		case name == "flags" && !seen[name]:
			var flags uint64
			flags, err = strconv.ParseUint(value, 8, 32)
			t.flags = uint32(flags)
		case name == "mnt_id" && !seen[name]:
			t.mntID, err = strconv.Atoi(value)
		case name == "ino" && !seen[name]:
			t.ino, err = strconv.ParseUint(value, 10, 64)
		case name == "lock":
			t.locks = append(t.locks, value)
		default:
			t.rest = append(t.rest, text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", text, err)
		}
		seen[name] = true
	}
	if !seen["pos"] || !seen["flags"] {
		return nil, errors.New("there is no pos or no flags line")
	}
	return t, nil
}

// parsePosition reads a file position. It is a signed number that some kernels
// print as an unsigned one.
func parsePosition(value string) (int64, error) {
	if pos, err := strconv.ParseInt(value, 10, 64); err == nil {
		return pos, nil
	}
	pos, err := strconv.ParseUint(value, 10, 64)
	return int64(pos), err
}
