// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// The ways in which a timer notifies, as sigevent.sigev_notify has them
// (include/uapi/asm-generic/siginfo.h). The kernel knows no other combinations.
const (
	notifySignal   = 0
	notifyNone     = 1
	notifyThread   = 2 // For libraries; the kernel sends a signal.
	notifyThreadID = 4
)

// posix is a POSIX timer without its times.
type posix struct {
	id     int32
	clock  clockID
	signal int32
	value  uint64 // sigev_value.
	notify int32
	thread int32 // For notifyThreadID.
}

// errNoList says that the kernel does not list timers.
var errNoList = errors.New("the kernel does not list POSIX timers: it needs CONFIG_CHECKPOINT_RESTORE")

// readTimers lists the POSIX timers of a process in the order of their numbers
// in the file /proc/PID/timers. The error is proc.ErrGone if there is no such
// process.
func readTimers(pid int) ([]posix, error) {
	path := fmt.Sprintf("/proc/%d/timers", pid)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("%s: %w", path, proc.ErrGone)
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, proc.ErrGone)
		}
		return nil, errNoList
	case err != nil:
		return nil, err
	}
	list, err := parseTimers(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// parseTimers reads the text of a timers file: for each timer the lines
//
//	ID: number
//	signal: number/value in hexadecimal
//	notify: signal, none or thread/pid or tid.number
//	ClockID: number
func parseTimers(text string) ([]posix, error) {
	var list []posix
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		return nil, nil
	}
	const each = 4
	if len(lines)%each != 0 {
		return nil, fmt.Errorf("%d lines are no whole number of timers", len(lines))
	}
	for i := 0; i < len(lines); i += each {
		t, err := parseTimer(lines[i : i+each])
		if err != nil {
			return nil, fmt.Errorf("timer at line %d: %w", i+1, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func parseTimer(lines []string) (posix, error) {
	var fields [4]string
	for i, name := range []string{"ID", "signal", "notify", "ClockID"} {
		value, ok := strings.CutPrefix(lines[i], name+": ")
		if !ok {
			return posix{}, fmt.Errorf("line %q is not the one of %q", lines[i], name)
		}
		fields[i] = value
	}
	var t posix
	var errs [5]error
	t.id, errs[0] = parseInt(fields[0])
	signal, value, _ := strings.Cut(fields[1], "/")
	t.signal, errs[1] = parseInt(signal)
	t.value, errs[2] = strconv.ParseUint(value, 16, 64)
	t.notify, t.thread, errs[3] = parseNotify(fields[2])
	clock, err := parseInt(fields[3])
	t.clock, errs[4] = clockID(clock), err
	return t, errors.Join(errs[:]...)
}

// parseNotify reads how a timer notifies, such as "signal/tid.4711". The number
// after "pid" is always the process's own.
func parseNotify(text string) (notify, thread int32, err error) {
	kind, whom, _ := strings.Cut(text, "/")
	who, number, _ := strings.Cut(whom, ".")
	switch kind {
	case "signal":
		notify = notifySignal
	case "none":
		notify = notifyNone
	case "thread":
		notify = notifyThread
	default:
		return 0, 0, fmt.Errorf("unknown notification %q", text)
	}
	switch who {
	case "pid":
		return notify, 0, nil
	case "tid":
		thread, err = parseInt(number)
		return notify | notifyThreadID, thread, err
	default:
		return 0, 0, fmt.Errorf("unknown notification %q", text)
	}
}

func parseInt(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err
}
