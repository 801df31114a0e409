// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"os"
	"strconv"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/remote"
)

// Prepare gives process pid, whose memory and files are in place and which has
// its first thread alone, what concerns the process as a whole and takes no right
// away that later steps need: signal actions, umask, personality, whether it
// adopts orphans, membarrier registrations, OOM score adjustment, what a core dump
// would hold, login id and the marks of marks.go.
//
// All its children must be born by then, and its zombies ended: a child would
// inherit some of this, and leaves no zombie where SIGCHLD is ignored. SIGCHLDs
// that births have left pending are taken back.
func Prepare(set *criuimg.Set, pid uint32, stub *remote.Stub) error {
	p, err := processOf(set, pid)
	if err != nil {
		return err
	}
	if err := prepare(p, pid, stub); err != nil {
		return fmt.Errorf("process %d (%s): %w", pid, p.Core.GetTc().GetComm(), err)
	}
	return nil
}

func prepare(p *criuimg.Process, pid uint32, stub *remote.Stub) error {
	tc := p.Core.GetTc()
	if err := setOOMScore(pid, tc); err != nil {
		return err
	}
	if err := setCoreFilter(pid, tc); err != nil {
		return err
	}
	b := newBatch(stub)
	if err := writeActions(b, tc.GetSigactions()); err != nil {
		return err
	}
	b.must("set the umask").call(unix.SYS_UMASK, uint64(p.FS.GetUmask()))
	personality := personalityOf(tc)
	b.must("set the personality %#x", personality).call(unix.SYS_PERSONALITY, uint64(personality))
	subreaper := uint64(0)
	if tc.GetChildSubreaper() {
		subreaper = 1
	}
	b.must("adopt orphans or not").call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, subreaper)
	registered, _ := extra.Value(tc, fieldMembarriers)
	for command := uint64(1); command != 0; command <<= 1 {
		// What a process can ask for is what it is registered for.
		if registered&command != 0 {
			b.must("register for membarrier %#x", command).call(unix.SYS_MEMBARRIER, command)
		}
	}
	if err := writeMarks(b, tc, processMarks(), inheritedProcessMarks()); err != nil {
		return err
	}
	if err := writeLoginID(b, tc); err != nil {
		return err
	}
	return b.run(nil)
}

// personalityOf is a process's personality. CRIU reads the hexadecimal digits of
// /proc/PID/personality as decimal ones: 0x40000 is 40000 in its images. No
// personality has one of the bits between the kind, in the lowest byte, and the
// flags, which such a mistake sets.
func personalityOf(tc *criu_core.TaskCoreEntry) uint32 {
	const between = 0x0001ff00
	p := tc.GetPersonality()
	if p&between == 0 {
		return p
	}
	if meant, err := strconv.ParseUint(strconv.FormatUint(uint64(p), 10), 16, 32); err == nil {
		return uint32(meant)
	}
	return p
}

// highestAddress is the end of the memory of 64-bit programs that do not ask for
// more than 47 bits.
const highestAddress = 1<<47 - 4096

// processOf finds a living process in a set.
func processOf(set *criuimg.Set, pid uint32) (*criuimg.Process, error) {
	p := set.Process[pid]
	if p == nil || p.Core.GetTc() == nil || p.Zombie() {
		return nil, fmt.Errorf("process %d: the images have no living process of this number", pid)
	}
	return p, nil
}

// threadOf finds a living thread in a set.
func threadOf(set *criuimg.Set, pid, tid uint32) (*criu_core.CoreEntry, error) {
	p, err := processOf(set, pid)
	if err != nil {
		return nil, err
	}
	core := p.Core
	if tid != pid {
		core = p.Threads[tid]
	}
	if core.GetThreadCore() == nil {
		return nil, fmt.Errorf("process %d: the images have no thread %d", pid, tid)
	}
	return core, nil
}

// threadError says which thread an error is about.
func threadError(set *criuimg.Set, pid, tid uint32, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("thread %d of process %d (%s): %w", tid, pid, set.Process[pid].Core.GetTc().GetComm(), err)
}

// setOOMScore sets how readily the kernel kills the process when memory runs out.
// It is done from outside, because the file needs no privilege of the process.
func setOOMScore(pid uint32, tc *criu_core.TaskCoreEntry) error {
	if tc.OomScoreAdj == nil {
		return nil
	}
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	have, err := readNumber(path, 10)
	if err != nil {
		return err
	}
	want := tc.GetOomScoreAdj()
	if have == int64(want) {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(int(want))), 0); err != nil {
		if int64(want) < have {
			return fmt.Errorf("set its OOM score adjustment to %d, below crtime's own of %d, which needs CAP_SYS_RESOURCE: %w", want, have, err)
		}
		return fmt.Errorf("set its OOM score adjustment to %d: %w", want, err)
	}
	return nil
}

// writeLoginID adds the calls that set the login id which audit records carry.
// Only the process itself may set it, and only once unless it has
// CAP_AUDIT_CONTROL, so it is allowed to stay what crtime's own is.
func writeLoginID(b *batch, tc *criu_core.TaskCoreEntry) error {
	if tc.Loginuid == nil {
		return nil
	}
	own, err := readNumber("/proc/self/loginuid", 10)
	if err != nil || uint32(own) == tc.GetLoginuid() {
		return nil //nolint:nilerr // A kernel without audit has no such file, and nothing to set.
	}
	path, err := b.put([]byte("/proc/self/loginuid\x00"))
	if err != nil {
		return err
	}
	text := strconv.FormatUint(uint64(tc.GetLoginuid()), 10)
	data, err := b.put([]byte(text))
	if err != nil {
		return err
	}
	// An open that fails gives a descriptor that the others fail on as well.
	cwd := int64(unix.AT_FDCWD)
	open := b.may("open its login id").call(unix.SYS_OPENAT, uint64(cwd), path, unix.O_WRONLY|unix.O_CLOEXEC)
	for _, i := range []int{
		b.may("set its login id").call(unix.SYS_WRITE, 0, data, uint64(len(text))),
		b.may("close its login id").call(unix.SYS_CLOSE),
	} {
		b.calls[i].From[0] = uint8(open + 1)
	}
	return nil
}
