// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/rlimit"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/proc"
)

// limitNames are the names in /proc/PID/limits, in the order of the RLIMIT_
// numbers (asm-generic/resource.h) and of the image.
func limitNames() [16]string {
	return [16]string{
		"Max cpu time", "Max file size", "Max data size", "Max stack size",
		"Max core file size", "Max resident set", "Max processes", "Max open files",
		"Max locked memory", "Max address space", "Max file locks", "Max pending signals",
		"Max msgqueue size", "Max nice priority", "Max realtime priority", "Max realtime timeout",
	}
}

// readLimits reads a process's resource limits. prlimit(2) would need
// CAP_SYS_RESOURCE for a process of another user; the file does not.
func readLimits(pid int) (*criu_core.TaskRlimitsEntry, error) {
	data, err := proc.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return nil, err
	}
	limits, err := parseLimits(data)
	if err != nil {
		return nil, fmt.Errorf("limits of process %d: %w", pid, err)
	}
	return limits, nil
}

// parseLimits parses the file; all sixteen limits must be there. The file's
// units are those of setrlimit(2).
func parseLimits(data []byte) (*criu_core.TaskRlimitsEntry, error) {
	names := limitNames()
	entries := make([]*rlimit.RlimitEntry, len(names))
	for line := range bytes.Lines(data) {
		for i, name := range names {
			rest, ok := strings.CutPrefix(string(line), name+" ")
			if !ok {
				continue
			}
			fields := strings.Fields(rest)
			if len(fields) < 2 {
				return nil, fmt.Errorf("%s: two values are expected", name)
			}
			cur, err := parseLimit(fields[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			most, err := parseLimit(fields[1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			entries[i] = &rlimit.RlimitEntry{Cur: proto.Uint64(cur), Max: proto.Uint64(most)}
		}
	}
	for i, e := range entries {
		if e == nil {
			return nil, fmt.Errorf("%s is missing", names[i])
		}
	}
	return &criu_core.TaskRlimitsEntry{Rlimits: entries}, nil
}

// parseLimit parses one value. The image says RLIM_INFINITY as all ones.
func parseLimit(s string) (uint64, error) {
	if s == "unlimited" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// LimitError says that an image asks for a higher hard limit than crtime itself
// has, which only CAP_SYS_RESOURCE could grant.
type LimitError struct {
	Name       string // As in /proc/PID/limits: "Max open files".
	Want, Have uint64 // math.MaxUint64: unlimited.
}

// Error says what to do.
func (e *LimitError) Error() string {
	return fmt.Sprintf("its hard limit %q of %s is above crtime's own of %s, and only CAP_SYS_RESOURCE may raise it: start crtime with a higher limit (ulimit -H) or with that capability",
		e.Name, limitText(e.Want), limitText(e.Have))
}

// checkLimits refuses limits that a restored process cannot get. own are crtime's;
// raise says that it may raise hard limits.
func checkLimits(want, own *criu_core.TaskRlimitsEntry, raise bool) error {
	names := limitNames()
	for i, w := range want.GetRlimits() {
		if i >= len(names) {
			return fmt.Errorf("the image has %d resource limits, and this engine knows %d", len(want.GetRlimits()), len(names))
		}
		if w.GetCur() > w.GetMax() {
			return fmt.Errorf("the image has a limit %q of %s that is above its hard limit of %s", names[i], limitText(w.GetCur()), limitText(w.GetMax()))
		}
		if have := own.GetRlimits()[i].GetMax(); w.GetMax() > have && !raise {
			return &LimitError{Name: names[i], Want: w.GetMax(), Have: have}
		}
	}
	return nil
}

// setLimits gives the process of a thread the limits of its image, from outside. A
// limit that is already right costs no privilege.
func setLimits(tid int, want *criu_core.TaskRlimitsEntry) error {
	// A name is there for every one: checkLimits has seen to it.
	names := limitNames()
	for i, w := range want.GetRlimits() {
		var have unix.Rlimit
		if err := unix.Prlimit(tid, i, nil, &have); err != nil {
			return fmt.Errorf("ask for its limit %q: %w", names[i], err)
		}
		if have.Cur == w.GetCur() && have.Max == w.GetMax() {
			continue
		}
		err := unix.Prlimit(tid, i, &unix.Rlimit{Cur: w.GetCur(), Max: w.GetMax()}, nil)
		if errors.Is(err, unix.EPERM) && w.GetMax() > have.Max {
			return fmt.Errorf("%w (%w)", &LimitError{Name: names[i], Want: w.GetMax(), Have: have.Max}, err)
		}
		if err != nil {
			return fmt.Errorf("set its limit %q to %s: %w", names[i], limitText(w.GetCur()), err)
		}
	}
	return nil
}

// limitText is a limit as /proc shows it.
func limitText(v uint64) string {
	if v == math.MaxUint64 {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}
