// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// Thread gives thread tid of process pid, which is th in stub, what belongs to a
// thread and takes no right away: name, alternate signal stack, list of robust
// futexes, the address that is cleared at its end, restartable sequences, timer
// slack, memory policy, a personality of its own and the marks of marks.go. Scheduling is set by Credentials, so that a thread of low priority
// does not hold up what is still to be done in it.
//
// The memory of the process must be in place: from now on the kernel writes the
// number of the CPU into the thread's struct rseq whenever it has run.
//
// also is called in it at the same stop.
func Thread(set *criuimg.Set, pid, tid uint32, stub *remote.Stub, th *ptrace.Thread, also ...remote.Call) error { //nolint:revive // A thread, and where it is.
	core, err := threadOf(set, pid, tid)
	if err != nil {
		return err
	}
	b := newBatch(stub)
	if err := writeThread(b, core, threadName(set.Process[pid], core)); err != nil {
		return threadError(set, pid, tid, err)
	}
	b.calls = append(b.calls, also...)
	return threadError(set, pid, tid, b.run(th))
}

// threadName is a thread's name. Images of older programs have only that of the
// process.
func threadName(p *criuimg.Process, core *criu_core.CoreEntry) string {
	if comm := core.GetThreadCore().Comm; comm != nil {
		return *comm
	}
	return p.Core.GetTc().GetComm()
}

// writeThread adds the calls of Thread.
func writeThread(b *batch, core *criu_core.CoreEntry, name string) error {
	tc := core.GetThreadCore()
	comm, err := b.put(append([]byte(name), 0))
	if err != nil {
		return err
	}
	b.must("set its name to %q", name).call(unix.SYS_PRCTL, unix.PR_SET_NAME, comm)
	b.must("set the address to clear at its end").call(unix.SYS_SET_TID_ADDRESS, clearTID(core))
	if head := tc.GetFutexRla(); head != 0 {
		b.must("set its list of robust futexes at %#x", head).
			call(unix.SYS_SET_ROBUST_LIST, head, uint64(tc.GetFutexRlaLen()))
	}
	if sas := tc.GetSas(); sas.GetSsSize() != 0 && sas.GetSsFlags()&ssDisable == 0 {
		stack, err := b.put(stackT(sas))
		if err != nil {
			return err
		}
		b.must("set its signal stack of %d bytes", sas.GetSsSize()).call(unix.SYS_SIGALTSTACK, stack, 0)
	}
	if r := tc.GetRseqEntry(); r.GetRseqAbiPointer() != 0 {
		b.must("register its restartable sequences at %#x", r.GetRseqAbiPointer()).
			call(unix.SYS_RSEQ, r.GetRseqAbiPointer(), uint64(r.GetRseqAbiSize()), 0, uint64(r.GetSignature()))
	}
	if !realTime(tc.GetSchedPolicy() &^ resetOnFork) {
		// A real-time thread has none.
		b.must("set its timer slack").call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, timerSlack(tc))
	}
	if personality, ok := extra.Value(tc, fieldPersonality); ok {
		b.must("set its personality %#x", personality).call(unix.SYS_PERSONALITY, personality)
	}
	if err := writeMemoryPolicy(b, tc); err != nil {
		return err
	}
	return writeMarks(b, tc, threadMarks(), inheritedThreadMarks())
}

// stackT is stack_t of sigaltstack(2) without the mark that the thread is on the
// stack at the moment.
func stackT(sas *criu_core.ThreadSasEntry) []byte {
	var b [24]byte
	binary.NativeEndian.PutUint64(b[0:], sas.GetSsSp())
	binary.NativeEndian.PutUint32(b[8:], sas.GetSsFlags()&^ssOnStack)
	binary.NativeEndian.PutUint64(b[16:], sas.GetSsSize())
	return b[:]
}

// State is what thread tid of process pid runs on with, for remote.Stub.Leave. An
// interrupted system call in it is folded: nothing but registers says what the
// thread was doing.
func State(set *criuimg.Set, pid, tid uint32) (remote.State, error) {
	core, err := threadOf(set, pid, tid)
	if err != nil {
		return remote.State{}, err
	}
	state, err := loadState(core)
	if err != nil {
		return remote.State{}, threadError(set, pid, tid, err)
	}
	switch tc := set.Process[pid].Core.GetTc(); {
	case tid == pid, core.ThreadCore.BlkSigset == nil:
		// Images of older programs have one mask for all threads.
		state.Mask = tc.GetBlkSigset()
	default:
		state.Mask = core.ThreadCore.GetBlkSigset()
	}
	return state.Folded(), nil
}

// Stopped is the signal that is to be sent to process pid, with kill(2), when
// nothing is left to be done but to detach its threads: the process was stopped
// by that signal, and is stopped again before its first instruction. It is 0 for
// a process that ran.
//
// The signals of job control are not always obeyed. Where the recorded one would
// not be, the result is SIGSTOP; the parent can see the difference in a status
// that it has not collected yet.
func Stopped(set *criuimg.Set, pid uint32) unix.Signal {
	p := set.Process[pid]
	if p == nil || p.Zombie() {
		return 0
	}
	tc := p.Core.GetTc()
	if tc.GetTaskState() != criuimg.TaskStopped {
		if pendingStop(p) {
			return unix.SIGSTOP
		}
		return 0
	}
	sig := unix.Signal(tc.GetStopSigno())
	if obeyed(set, pid, sig) {
		return sig
	}
	return unix.SIGSTOP
}

// pendingStop reports whether SIGSTOP was sent to a process and had not stopped it
// yet. Such a signal cannot be queued: nothing can block it.
func pendingStop(p *criuimg.Process) bool {
	queues := [][][128]byte{signalInfos(p.Core.GetTc().GetSignalsS()), signalInfos(p.Core.GetThreadCore().GetSignalsP())}
	for _, core := range p.Threads {
		queues = append(queues, signalInfos(core.GetThreadCore().GetSignalsP()))
	}
	for _, q := range queues {
		for i := range q {
			if info := ptrace.SigInfo(q[i]); info.Signal() == unix.SIGSTOP {
				return true
			}
		}
	}
	return false
}

// obeyed reports whether a signal of job control stops a restored process: its
// action is the default one, a thread does not block it, and its group is not
// orphaned, as setpgid(2) has it.
func obeyed(set *criuimg.Set, pid uint32, sig unix.Signal) bool {
	if sig != unix.SIGTSTP && sig != unix.SIGTTIN && sig != unix.SIGTTOU {
		return false
	}
	p := set.Process[pid]
	actions, err := loadActions(p.Core.GetTc().GetSigactions())
	if err != nil || actions[sig-1].handler != 0 || orphaned(set, pid) {
		return false
	}
	for _, tid := range p.TIDs(pid) {
		if state, err := State(set, pid, tid); err == nil && state.Mask&(1<<(sig-1)) == 0 {
			return true
		}
	}
	return false
}

// orphaned reports whether no process of pid's group has a parent in another group
// of the same session. Parents outside the tree do not count.
func orphaned(set *criuimg.Set, pid uint32) bool {
	type place struct{ ppid, pgid, sid uint32 }
	places := map[uint32]place{}
	for _, e := range set.Tree {
		places[e.GetPid()] = place{e.GetPpid(), e.GetPgid(), e.GetSid()}
	}
	own := places[pid]
	for _, m := range places {
		parent, ok := places[m.ppid]
		if m.pgid == own.pgid && ok && parent.pgid != m.pgid && parent.sid == m.sid {
			return false
		}
	}
	return true
}
