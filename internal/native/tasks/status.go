// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/crtime/crtime/internal/proc"
)

// status holds the fields of /proc/PID/task/TID/status that a dump needs. They
// are those of proc_pid_status(5); ids are of the reader's user namespace.
type status struct {
	name     string    // Of the thread.
	uid, gid [4]uint32 // Real, effective, saved, file system.
	groups   []uint32

	capInh, capPrm, capEff, capBnd, capAmb uint64

	noNewPrivs bool
	seccomp    uint32   // SECCOMP_MODE_*; 0: disabled.
	umask      uint32   // Of the whole process.
	features   []string // x86_Thread_features: "shstk", "wrss".
	tracer     int      // Of the thread; 0: none.
	tagged     bool     // Some bits of addresses do not count (x86's untag_mask).
}

// readStatus reads the status of one thread. The error is proc.ErrGone when
// there is none.
func readStatus(pid, tid int) (*status, error) {
	data, err := readTask(pid, tid, "status")
	if err != nil {
		return nil, err
	}
	st, err := parseStatus(data)
	if err != nil {
		return nil, fmt.Errorf("status of thread %d of process %d: %w", tid, pid, err)
	}
	return st, nil
}

// parseStatus parses a status file. Uid and Gid must be there; any other field
// that is missing keeps its zero value, as on kernels that do not know it.
func parseStatus(data []byte) (*status, error) {
	st := &status{}
	missing := []string{"Uid", "Gid"}
	for name, value := range proc.StatusFields(data) {
		if name == "Name" {
			st.name = unescape(value)
			continue
		}
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
		if err := st.set(name, strings.Fields(value)); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("field %s is missing", missing[0])
	}
	return st, nil
}

// unescape undoes what the kernel does to a name so that it fits on a line: a line
// feed and a backslash stand behind a backslash (proc_task_name of fs/proc/array.c).
func unescape(name string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(name)
}

// set takes in one line.
func (st *status) set(name string, fields []string) error {
	switch name {
	case "Uid":
		return numbers(fields, st.uid[:])
	case "Gid":
		return numbers(fields, st.gid[:])
	case "Groups":
		st.groups = make([]uint32, len(fields))
		return numbers(fields, st.groups)
	case "x86_Thread_features":
		st.features = fields
		return nil
	case "untag_mask":
		st.tagged = len(fields) != 1 || fields[0] != "0xffffffffffffffff"
		return nil
	default:
		return st.setNumber(name, fields)
	}
}

// setNumber is set for a line with one number.
func (st *status) setNumber(name string, fields []string) error {
	base := 16
	var into *uint64
	var small uint64
	switch name {
	case "CapInh":
		into = &st.capInh
	case "CapPrm":
		into = &st.capPrm
	case "CapEff":
		into = &st.capEff
	case "CapBnd":
		into = &st.capBnd
	case "CapAmb":
		into = &st.capAmb
	case "NoNewPrivs", "Seccomp", "TracerPid":
		base, into = 10, &small
	case "Umask":
		base, into = 8, &small
	default:
		return nil
	}
	if len(fields) != 1 {
		return fmt.Errorf("%d values instead of one", len(fields))
	}
	var err error
	if *into, err = strconv.ParseUint(fields[0], base, 64); err != nil {
		return err
	}
	switch name {
	case "NoNewPrivs":
		st.noNewPrivs = small != 0
	case "Seccomp":
		st.seccomp = uint32(small)
	case "TracerPid":
		st.tracer = int(small)
	case "Umask":
		st.umask = uint32(small)
	}
	return nil
}

// numbers parses exactly as many decimal numbers as fit.
func numbers(fields []string, into []uint32) error {
	if len(fields) != len(into) {
		return fmt.Errorf("%d values instead of %d", len(fields), len(into))
	}
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return err
		}
		into[i] = uint32(v)
	}
	return nil
}

// readTask reads /proc/PID/task/TID/NAME whole.
func readTask(pid, tid int, name string) ([]byte, error) {
	return proc.ReadFile(fmt.Sprintf("/proc/%d/task/%d/%s", pid, tid, name))
}
