// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// mmMap is struct prctl_mm_map of linux/prctl.h.
type mmMap struct {
	StartCode, EndCode, StartData, EndData uint64
	StartBrk, Brk, StartStack              uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd     uint64
	Auxv                                   uint64 // Address of the auxiliary vector.
	AuxvSize                               uint32
	ExeFD                                  uint32
}

// noFile tells PR_SET_MM_MAP to leave /proc/PID/exe alone.
const noFile = math.MaxUint32

// maxAuxv is how many words of auxiliary vector are believed an image. Kernels
// keep about 50.
const maxAuxv = 128

// describe sets what the kernel keeps about the layout of the memory: code, data,
// heap, stack, arguments and environment, the auxiliary vector, the program.
//
// The number of the program's descriptor stands in memory and not in an argument,
// so it has to be known before the table is made. A stub has no descriptors, as a
// rule: then it is known. Nothing is to be added to the table behind that.
func (r *Rebuild) describe(sp *space, t *table, in runner) (*described, error) {
	auxv, err := auxvOf(sp.mm)
	if err != nil {
		return nil, err
	}
	exe, err := r.opener.Open(sp.mm.GetExeFileId(), unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open the program, file %d: %w", sp.mm.GetExeFileId(), err)
	}
	same, err := runs(sp.pid, exe)
	if err != nil {
		return nil, err
	}
	d := &described{mm: sp.mm, auxv: auxv, exe: exe}
	if same {
		call, err := tell(sp.mm, in, auxv, noFile)
		if err == nil {
			t.add(call)
		}
		return d, err
	}
	call, err := tell(sp.mm, in, auxv, likelyExe)
	if err != nil {
		return nil, err
	}
	call.Must = false
	t.add(slices.Concat(fetch(os.Getpid(), exe, "the program"), []remote.Call{call}, release())...)
	d.batch = t.batches[len(t.batches)-1]
	d.batch = d.batch[len(d.batch)-describeCalls:]
	return d, nil
}

// The group of calls that describe adds: pidfd_open and pidfd_getfd, what tells the
// kernel, and two of close. likelyExe is what pidfd_getfd gives in a process without
// descriptors.
const (
	describeFetch = 1
	describeTell  = 2
	describeCalls = 5
	likelyExe     = 1
)

// described is what was added to a table.
type described struct {
	mm    *mm.MmEntry
	auxv  []byte
	exe   int           // crtime's descriptor of the program.
	batch []remote.Call // describeCalls of them; nil: the program is right already.
}

// check looks whether the calls did what they should, and otherwise has them made
// one after the other.
func (d *described) check(in runner) error {
	defer in.Reset()
	switch {
	case d.batch == nil:
		return nil
	case d.batch[describeFetch].Ret == likelyExe:
		return d.batch[describeTell].Err()
	}
	calls := fetch(os.Getpid(), d.exe, "the program")
	if err := in.Run(calls); err != nil {
		return err
	}
	call, err := tell(d.mm, in, d.auxv, uint32(calls[1].Ret))
	if err != nil {
		return err
	}
	return in.Run([]remote.Call{
		call,
		must("close the program", unix.SYS_CLOSE, uint64(calls[1].Ret)),
		must("close crtime's pidfd", unix.SYS_CLOSE, uint64(calls[0].Ret)),
	})
}

// tell puts what the kernel is to know into the process and gives the call that has
// it read. exe is the process's descriptor of its program, or noFile.
func tell(m *mm.MmEntry, in runner, auxv []byte, exe uint32) (remote.Call, error) {
	addr, err := in.Alloc(len(auxv) + binary.Size(mmMap{}))
	if err != nil {
		return remote.Call{}, err
	}
	text, err := binary.Append(slices.Clip(auxv), binary.LittleEndian, mmMap{
		StartCode: m.GetMmStartCode(), EndCode: m.GetMmEndCode(),
		StartData: m.GetMmStartData(), EndData: m.GetMmEndData(),
		StartBrk: m.GetMmStartBrk(), Brk: m.GetMmBrk(), StartStack: m.GetMmStartStack(),
		ArgStart: m.GetMmArgStart(), ArgEnd: m.GetMmArgEnd(),
		EnvStart: m.GetMmEnvStart(), EnvEnd: m.GetMmEnvEnd(),
		Auxv: addr, AuxvSize: uint32(len(auxv)), ExeFD: exe,
	})
	if err != nil {
		return remote.Call{}, err
	}
	return must("prctl(PR_SET_MM_MAP)", unix.SYS_PRCTL,
		unix.PR_SET_MM, unix.PR_SET_MM_MAP, addr+uint64(len(auxv)), uint64(len(text)-len(auxv))), in.Write(addr, text)
}

// auxvOf is the recorded auxiliary vector up to its end, as the kernel takes it.
// A kernel that keeps a shorter one than the recorded machine's refuses more.
func auxvOf(m *mm.MmEntry) ([]byte, error) {
	words := m.GetMmSavedAuxv()
	if len(words) > maxAuxv || len(words)%2 != 0 {
		return nil, fmt.Errorf("an auxiliary vector of %d words: %w", len(words), ErrImages)
	}
	var out []byte
	for i := 0; i < len(words); i += 2 {
		out = binary.LittleEndian.AppendUint64(out, words[i])
		out = binary.LittleEndian.AppendUint64(out, words[i+1])
		if words[i] == 0 { // AT_NULL
			break
		}
	}
	return out, nil
}

// runs says whether /proc/PID/exe is an open file already. The kernel does not
// change it while that file is mapped, not even to itself.
func runs(pid, fd int) (bool, error) {
	var now, want unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/exe", pid), &now); err != nil {
		return false, fmt.Errorf("look at /proc/%d/exe: %w", pid, err)
	}
	if err := unix.Fstat(fd, &want); err != nil {
		return false, fmt.Errorf("look at the program: %w", err)
	}
	return now.Dev == want.Dev && now.Ino == want.Ino, nil
}
