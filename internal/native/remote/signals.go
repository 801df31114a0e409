// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// signals is what /proc/PID/status says of a process's signals, as masks, and of
// what stands in the way of system calls.
type signals struct {
	pending uint64 // For the thread or the process.
	blocked uint64
	ignored uint64
	caught  uint64

	shadowStack bool
	seccomp     bool
}

// readSignals reads /proc/PID/status.
func readSignals(pid int) (signals, error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	text, err := proc.ReadFile(file)
	if err != nil {
		return signals{}, err
	}
	s, err := parseSignals(text)
	if err != nil {
		return signals{}, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// parseSignals reads the text of /proc/PID/status. Lines that are not there
// leave their fields zero.
func parseSignals(text []byte) (signals, error) {
	var s signals
	for name, value := range proc.StatusFields(text) {
		var mask *uint64
		switch name {
		case "SigPnd", "ShdPnd":
			mask = &s.pending
		case "SigBlk":
			mask = &s.blocked
		case "SigIgn":
			mask = &s.ignored
		case "SigCgt":
			mask = &s.caught
		case "x86_Thread_features":
			s.shadowStack = strings.Contains(value, "shstk")
			continue
		case "Seccomp":
			s.seccomp = value != "0"
			continue
		default:
			continue
		}
		v, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			return signals{}, fmt.Errorf("%s: %w", name, err)
		}
		*mask |= v
	}
	return s, nil
}

// harmless chooses a signal that the process's threads can send to themselves
// without an effect when nobody traces them: one that is ignored by default and
// not caught, or ignored by choice. 0 if there is none.
//
// stopped says that the process is stopped by a signal. To all others SIGCONT is
// harmless too.
func (s signals) harmless(stopped bool) unix.Signal {
	unusable := s.pending | s.blocked
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGWINCH, unix.SIGCHLD} {
		if (unusable|s.caught)&bit(sig) == 0 {
			return sig
		}
	}
	// Being sent, a signal that stops takes back a SIGCONT, and the other way round.
	const stops = 1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
	const faults = 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGILL-1) | 1<<(unix.SIGFPE-1) | 1<<(unix.SIGTRAP-1)
	for sig := unix.SIGHUP; sig < 32; sig++ {
		if s.ignored&^unusable&^stops&^faults&bit(sig) != 0 && sig != unix.SIGCONT {
			return sig
		}
	}
	if !stopped && (unusable|s.caught)&bit(unix.SIGCONT) == 0 && s.pending&stops == 0 {
		return unix.SIGCONT
	}
	return 0
}
