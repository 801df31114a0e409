// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// maxOffsetsText bounds what is read of a timens_offsets file. The kernel writes
// two lines of about 45 bytes.
const maxOffsetsText = 4096

// ParseOffsets reads the text of a /proc/PID/timens_offsets file: one line for
// each clock, with its name (or number), seconds and nanoseconds. Nanoseconds
// always count upward, also from negative seconds. Both clocks must be there,
// each once, and nothing else.
func ParseOffsets(r io.Reader) (clockstate.Offsets, error) {
	var o clockstate.Offsets
	limited := &io.LimitedReader{R: r, N: maxOffsetsText + 1}
	seen := map[string]bool{}
	lines := bufio.NewScanner(limited)
	for lines.Scan() {
		clock, value, err := parseLine(lines.Text())
		if err != nil {
			return clockstate.Offsets{}, err
		}
		if seen[clock] {
			return clockstate.Offsets{}, fmt.Errorf("time namespace offsets: the %s clock is given twice", clock)
		}
		seen[clock] = true
		if clock == "monotonic" {
			o.Monotonic = value
		} else {
			o.Boottime = value
		}
	}
	if err := lines.Err(); err != nil {
		return clockstate.Offsets{}, fmt.Errorf("time namespace offsets: %w", err)
	}
	if limited.N == 0 {
		return clockstate.Offsets{}, fmt.Errorf("time namespace offsets: more than %d bytes", maxOffsetsText)
	}
	if len(seen) != 2 {
		return clockstate.Offsets{}, errors.New("time namespace offsets: want a line for monotonic and one for boottime")
	}
	return o, nil
}

// parseLine reads "monotonic -2 954502961". The clock is returned by its name.
func parseLine(line string) (string, clockstate.Nanos, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return "", 0, fmt.Errorf("time namespace offsets: line %q: want a clock, seconds and nanoseconds", line)
	}
	clock := fields[0]
	switch clock {
	case "monotonic", "boottime":
	case strconv.Itoa(unix.CLOCK_MONOTONIC):
		clock = "monotonic"
	case strconv.Itoa(unix.CLOCK_BOOTTIME):
		clock = "boottime"
	default:
		return "", 0, fmt.Errorf("time namespace offsets: line %q: clock %q is neither monotonic nor boottime", line, clock)
	}
	sec, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("time namespace offsets: line %q: seconds: %w", line, err)
	}
	nsec, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("time namespace offsets: line %q: nanoseconds: %w", line, err)
	}
	if nsec < 0 || nsec > 999_999_999 {
		return "", 0, fmt.Errorf("time namespace offsets: line %q: nanoseconds must lie in 0 to 999999999", line)
	}
	value, err := clockstate.FromTimespec(sec, nsec)
	if err != nil {
		return "", 0, fmt.Errorf("time namespace offsets: line %q: %w", line, err)
	}
	return clock, value, nil
}

// formatOffsets is the text to write: exactly two lines of three fields. The
// kernel ignores anything after a third field without an error, and takes at
// most two lines of one write.
func formatOffsets(o clockstate.Offsets) string {
	ms, mn := o.Monotonic.Timespec()
	bs, bn := o.Boottime.Timespec()
	return fmt.Sprintf("monotonic %d %d\nboottime %d %d\n", ms, mn, bs, bn)
}

// ReadOffsets returns the offsets that /proc/PID/timens_offsets shows. Those are
// the offsets of the namespace that the process's *children* will live in; they
// are the process's own only if both are the same (see [IDOf] and [OffsetsOf]).
// They are relative to the initial namespace, whoever reads. Pid 0 is the caller.
//
// Errors: ErrNotSupported, ErrPrivilege, fs.ErrNotExist as for IDOf.
func ReadOffsets(pid int) (clockstate.Offsets, error) {
	path := "/proc/" + procName(pid) + "/timens_offsets"
	text, err := os.ReadFile(path)
	if err != nil {
		return clockstate.Offsets{}, lookError("read the clock offsets of process "+procName(pid), procName(pid), err)
	}
	o, err := ParseOffsets(strings.NewReader(string(text)))
	if err != nil {
		return clockstate.Offsets{}, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// ownOffsets is ReadOffsets for a process that lives in the same namespace as
// its children will; ErrForChildren for any other. The identities are compared
// before and after, as the process may be at work.
func ownOffsets(pid int) (clockstate.Offsets, error) {
	before, _, err := IDOf(pid)
	if err != nil {
		return clockstate.Offsets{}, err
	}
	o, err := ReadOffsets(pid)
	if err != nil {
		return clockstate.Offsets{}, err
	}
	own, forChildren, err := IDOf(pid)
	if err != nil {
		return clockstate.Offsets{}, err
	}
	if own != forChildren || own != before {
		return clockstate.Offsets{}, fmt.Errorf("process %s lives in time:[%d], its children in time:[%d]: %w",
			procName(pid), own, forChildren, ErrForChildren)
	}
	return o, nil
}

// OffsetsOf returns the offsets of the time namespace that a process itself
// lives in, relative to the initial namespace. Where its children will live in
// another one, the file of offsets shows theirs; then a short-lived child of the
// caller enters the process's own namespace and its file is read instead, which
// needs the privilege to enter. Pid 0 is the caller.
//
// Errors: as for ReadOffsets; ErrPrivilege also if the caller may not enter.
func OffsetsOf(pid int) (clockstate.Offsets, error) {
	o, err := ownOffsets(pid)
	if !errors.Is(err, ErrForChildren) {
		return o, err
	}
	ns, err := openNamespace(pid, "time")
	if err != nil {
		return clockstate.Offsets{}, err
	}
	defer ns.Close()
	w, err := newWaiter(forkInto(ns))
	if err != nil {
		return clockstate.Offsets{}, fmt.Errorf("read the clock offsets of process %s from inside its time namespace: %w", procName(pid), err)
	}
	defer w.dismiss()
	return ownOffsets(w.process.PID)
}

// SetUnshared writes the offsets of the namespace that a process has unshared for its
// children, and opens it for those who are to enter. The caller closes the file. As
// long as nobody has entered, the offsets can be written again, also by the process.
//
// Errors: as for Holder.SetOffsets.
func SetUnshared(pid int, o clockstate.Offsets) (*os.File, error) {
	file, err := openOffsets(pid)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.write(o); err != nil {
		return nil, err
	}
	return openNamespace(pid, "time_for_children")
}

// offsetsFile is the open /proc/PID/timens_offsets of a process or thread that
// stands before a new namespace. It can be written again and again until the
// first process enters.
type offsetsFile struct {
	f   *os.File
	pid int
}

// openOffsets opens the file of a process or thread for writing. The caller
// closes it.
func openOffsets(pid int) (*offsetsFile, error) {
	path := "/proc/" + procName(pid) + "/timens_offsets"
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &os.PathError{Op: "open", Path: path, Err: err}
		return nil, lookError("open the offsets of a new time namespace", procName(pid), err)
	}
	return &offsetsFile{f: os.NewFile(uintptr(fd), path), pid: pid}, nil
}

// write sets both clocks by one write, checks that the kernel took all of it,
// and reads the offsets back.
func (of *offsetsFile) write(o clockstate.Offsets) error {
	op := fmt.Sprintf("set clock offsets monotonic %v, boottime %v through %s", o.Monotonic, o.Boottime, of.f.Name())
	text := formatOffsets(o)
	// Not os.File.Write, which would go on after a short write.
	n, err := unix.Write(int(of.f.Fd()), []byte(text))
	if err != nil {
		return writeError(op, err)
	}
	if n != len(text) {
		return fmt.Errorf("%s: the kernel took %d of %d bytes", op, n, len(text))
	}
	got, err := ReadOffsets(of.pid)
	if err != nil {
		return fmt.Errorf("%s: read back: %w", op, err)
	}
	if got != o {
		return fmt.Errorf("%s: the kernel has monotonic %v, boottime %v instead", op, got.Monotonic, got.Boottime)
	}
	return nil
}

// Close releases the file; what was written stays.
func (of *offsetsFile) Close() error { return of.f.Close() }
