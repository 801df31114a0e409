// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"math"
	"os"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
)

// Check reports whether this package can rebuild the processes of s on this
// machine, with the rights that crtime has. It is for before anything is made; s
// has come from criuimg.Load.
func Check(s *criuimg.Set) error {
	own, err := ownRights()
	if err != nil {
		return err
	}
	for _, pid := range s.PIDs() {
		p := s.Process[pid]
		if p == nil {
			return fmt.Errorf("process %d: its images are missing", pid)
		}
		if err := own.checkProcess(pid, p); err != nil {
			return fmt.Errorf("process %d (%s): %w", pid, p.Core.GetTc().GetComm(), err)
		}
	}
	return nil
}

// rights are what crtime itself may do.
type rights struct {
	capabilities uint64 // The permitted ones.
	noNewPrivs   bool
	limits       *criu_core.TaskRlimitsEntry
}

// ownRights finds out what the calling thread may do, and the stubs that it makes.
func ownRights() (*rights, error) {
	st, err := readStatus(os.Getpid(), unix.Gettid())
	if err != nil {
		return nil, fmt.Errorf("crtime's own rights: %w", err)
	}
	limits, err := readLimits(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("crtime's own rights: %w", err)
	}
	return &rights{capabilities: st.capPrm, noNewPrivs: st.noNewPrivs, limits: limits}, nil
}

// mayRaiseLimits reports whether hard limits can be raised.
func (r *rights) mayRaiseLimits() bool { return r.capabilities&(1<<unix.CAP_SYS_RESOURCE) != 0 }

func (r *rights) checkProcess(pid uint32, p *criuimg.Process) error {
	tc := p.Core.GetTc()
	switch state := tc.GetTaskState(); state {
	case criuimg.TaskDead:
		return checkStatus(tc.GetExitCode())
	case criuimg.TaskAlive:
	case criuimg.TaskStopped:
		if sig := tc.GetStopSigno(); sig > signals {
			return fmt.Errorf("the image says that signal %d stopped it", sig)
		}
	default:
		return fmt.Errorf("the image says that it is in state %d", state)
	}
	if _, err := loadActions(tc.GetSigactions()); err != nil {
		return err
	}
	if err := checkSignals(tc.GetSignalsS()); err != nil {
		return err
	}
	if oom := tc.GetOomScoreAdj(); oom < -1000 || oom > 1000 {
		return fmt.Errorf("the image has an OOM score adjustment of %d", oom)
	}
	if filter, _ := extra.Value(tc, fieldCoreFilter); filter > math.MaxUint32 {
		return fmt.Errorf("the image has %#x for which memory a core dump holds", filter)
	}
	if err := checkMarks(tc, processMarks()); err != nil {
		return err
	}
	if err := checkLimits(tc.GetRlimits(), r.limits, r.mayRaiseLimits()); err != nil {
		return err
	}
	if tc.GetOldSeccompMode() != 0 {
		return errSeccomp
	}
	for _, tid := range p.TIDs(pid) {
		core := p.Threads[tid]
		if tid == pid {
			core = p.Core
		}
		if err := r.checkThread(core); err != nil {
			return fmt.Errorf("thread %d: %w", tid, err)
		}
	}
	return nil
}

// errSeccomp says that a thread has system call filters.
var errSeccomp = fmt.Errorf("%w: it has a seccomp filter, which the native engine does not rebuild: use --engine criu", criuimg.ErrUnsupported)

func (r *rights) checkThread(core *criu_core.CoreEntry) error {
	tc := core.GetThreadCore()
	if tc == nil {
		return errors.New("its image says nothing about the thread")
	}
	if tc.GetSeccompMode() != 0 {
		return errSeccomp
	}
	if _, err := loadState(core); err != nil {
		return err
	}
	if err := checkTLS(core); err != nil {
		return err
	}
	if err := checkCredentials(tc.GetCreds()); err != nil {
		return err
	}
	if err := r.checkCapabilities(tc); err != nil {
		return err
	}
	if err := checkSched(tc); err != nil {
		return err
	}
	if err := checkUserMemory(tc); err != nil {
		return err
	}
	if personality, _ := extra.Value(tc, fieldPersonality); personality >= math.MaxUint32 {
		return fmt.Errorf("the image has %#x for its personality", personality)
	}
	if err := checkMemoryPolicy(tc); err != nil {
		return err
	}
	if err := checkMarks(tc, threadMarks()); err != nil {
		return err
	}
	if sig := tc.GetPdeathSig(); sig > signals {
		return fmt.Errorf("the image has %d for its parent-death signal", sig)
	}
	if err := checkSignals(tc.GetSignalsP()); err != nil {
		return err
	}
	return checkContinue(tc.GetSignalsP())
}

// CapabilityError says that a thread is to have capabilities that crtime itself
// does not have and so cannot hand on.
type CapabilityError struct {
	Missing uint64 // Bit n is capability n.
}

// Error says what to do.
func (e *CapabilityError) Error() string {
	return fmt.Sprintf("it had the capabilities %s, which crtime does not have here and cannot hand on: start crtime with them", hex(e.Missing))
}

// checkCapabilities refuses a thread that is to have more than crtime has, or less
// where that cannot be.
func (r *rights) checkCapabilities(tc *criu_core.ThreadCoreEntry) error {
	c := tc.GetCreds()
	want := capSet(c.GetCapEff()) | capSet(c.GetCapPrm()) | capSet(extra.All(c, fieldCapAmb))
	if missing := want &^ r.capabilities; missing != 0 {
		return &CapabilityError{Missing: missing}
	}
	if nnp, _ := extra.Value(c, fieldNoNewPrivs); r.noNewPrivs && nnp == 0 {
		return errors.New("it could gain privileges by exec, and crtime itself has no_new_privs, which cannot be taken back: start crtime without")
	}
	return nil
}

// checkUserMemory refuses registrations of user memory that the kernel would. That
// the memory is there shows when the thread is made.
func checkUserMemory(tc *criu_core.ThreadCoreEntry) error {
	const headSize = 24 // sizeof(struct robust_list_head).
	if tc.GetFutexRla() != 0 && tc.GetFutexRlaLen() != headSize {
		return fmt.Errorf("the image has a list of robust futexes with a head of %d bytes instead of %d", tc.GetFutexRlaLen(), headSize)
	}
	if r := tc.GetRseqEntry(); r.GetRseqAbiPointer() != 0 && r.GetRseqAbiPointer() < 1<<12 {
		return fmt.Errorf("the image has restartable sequences at %#x", r.GetRseqAbiPointer())
	}
	return nil
}

// checkSignals refuses entries that are no signals.
func checkSignals(q *siginfo.SignalQueueEntry) error {
	for i, e := range q.GetSignals() {
		if len(e.GetSiginfo()) != len(ptrace.SigInfo{}) {
			return fmt.Errorf("pending signal %d has %d bytes instead of %d", i, len(e.GetSiginfo()), len(ptrace.SigInfo{}))
		}
		info := ptrace.SigInfo(e.GetSiginfo())
		if sig := info.Signal(); sig < 1 || sig > signals || sig == unix.SIGKILL {
			return fmt.Errorf("pending signal %d has the number %d", i, int(sig))
		}
	}
	return nil
}

// checkContinue refuses a SIGCONT that waits for one thread alone: see Queue.
func checkContinue(q *siginfo.SignalQueueEntry) error {
	infos := signalInfos(q)
	for i := range infos {
		if info := ptrace.SigInfo(infos[i]); info.Signal() == unix.SIGCONT {
			return fmt.Errorf("a SIGCONT waits for this thread alone, which the native engine cannot queue; %s", useCRIU)
		}
	}
	return nil
}
