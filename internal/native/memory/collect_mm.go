// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
)

// The questions about its memory that only the process itself can ask.
const (
	askBreak = iota
	askDumpable
	askTHP
	askMDWE
	asked
)

// describe fills in what an address space has beside mappings and can be seen from
// outside: the marks that the kernel keeps and the auxiliary vector.
func describe(pid int) (*mm.MmEntry, error) {
	text, err := readProc(pid, "stat")
	if err != nil {
		return nil, err
	}
	m, err := parseMarks(text)
	if err != nil {
		return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	auxv, err := readProc(pid, "auxv")
	if err != nil {
		return nil, err
	}
	if m.MmSavedAuxv, err = parseAuxv(auxv); err != nil {
		return nil, fmt.Errorf("/proc/%d/auxv: %w", pid, err)
	}
	return m, nil
}

// askCalls has the process ask what /proc does not show.
func askCalls() []remote.Call {
	calls := make([]remote.Call, asked, asked+tableSize)
	calls[askBreak] = remote.Call{Name: "ask for the end of the heap (brk)", Nr: unix.SYS_BRK, Must: true}
	calls[askDumpable] = prctl("PR_GET_DUMPABLE", unix.PR_GET_DUMPABLE)
	calls[askDumpable].Must = true
	calls[askTHP] = prctl("PR_GET_THP_DISABLE", unix.PR_GET_THP_DISABLE)
	calls[askMDWE] = prctl("PR_GET_MDWE", unix.PR_GET_MDWE)
	return calls
}

// askAnswers fills in what the process was told.
func askAnswers(calls []remote.Call, m *mm.MmEntry) error {
	m.MmBrk = proto.Uint64(uint64(calls[askBreak].Ret))
	m.Dumpable = proto.Int32(int32(calls[askDumpable].Ret))
	switch thp := &calls[askTHP]; {
	case thp.Err() != nil && !errors.Is(thp.Err(), unix.EINVAL):
		return thp.Err()
	case thp.Ret > 1:
		return fmt.Errorf("huge pages are switched off with exceptions (PR_SET_THP_DISABLE with flags), which the images cannot hold: %w", engine.ErrUnsupported)
	default:
		m.ThpDisabled = proto.Bool(thp.Ret == 1)
	}
	// Kernels without it (before 6.3) say EINVAL: nothing is refused there.
	if mdwe := &calls[askMDWE]; mdwe.Err() == nil && mdwe.Ret != 0 {
		return fmt.Errorf("the process has given up memory that can be both written and executed (PR_SET_MDWE), which the images cannot hold: %w", engine.ErrUnsupported)
	}
	return nil
}

// prctl is a call of prctl(2) without arguments, all of which must be 0.
func prctl(name string, option uint64) remote.Call {
	return remote.Call{Name: "prctl " + name, Nr: unix.SYS_PRCTL, Args: [6]uint64{option}}
}

// parseMarks reads the fields of /proc/PID/stat that say where in an address
// space things are; their numbers are those of proc_pid_stat(5).
func parseMarks(text []byte) (*mm.MmEntry, error) {
	// The name in parentheses may hold spaces and parentheses itself.
	at := bytes.LastIndexByte(text, ')')
	if at < 0 {
		return nil, errors.New("no name in parentheses")
	}
	const first = 3 // Number of the first field behind the name.
	fields := bytes.Fields(text[at+1:])
	m := &mm.MmEntry{}
	for _, mark := range []struct {
		number int
		to     **uint64
	}{
		{26, &m.MmStartCode},
		{27, &m.MmEndCode},
		{28, &m.MmStartStack},
		{45, &m.MmStartData},
		{46, &m.MmEndData},
		{47, &m.MmStartBrk},
		{48, &m.MmArgStart},
		{49, &m.MmArgEnd},
		{50, &m.MmEnvStart},
		{51, &m.MmEnvEnd},
	} {
		if mark.number-first >= len(fields) {
			return nil, fmt.Errorf("no field %d", mark.number)
		}
		value, err := strconv.ParseUint(string(fields[mark.number-first]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("field %d: %w", mark.number, err)
		}
		*mark.to = proto.Uint64(value)
	}
	return m, nil
}

// parseAuxv reads an auxiliary vector: pairs of numbers, up to the pair of zeros
// that ends it and that the kernel puts there by itself. CRIU, which has room for
// 44 words on x86-64, would have none for it on Linux 6.18.
func parseAuxv(b []byte) ([]uint64, error) {
	var out []uint64
	for ; len(b) >= 16; b = b[16:] {
		key, value := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])
		if key == 0 {
			return out, nil
		}
		out = append(out, key, value)
	}
	return nil, errors.New("the vector has no end")
}

// program numbers the file that the process executes.
func (c *collector) program(pid int) (*uint32, error) {
	id, err := c.files.Regular(pid, fmt.Sprintf("/proc/%d/exe", pid), unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("the program: %w", err)
	}
	return &id, nil
}

// readProc reads a file of a process's folder in /proc.
func readProc(pid int, name string) ([]byte, error) {
	return proc.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
}
