// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/rseq"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
)

// answers is where a thread's answers lie in its process: struct stack_t, the
// clear_child_tid address and the parent-death signal.
const (
	offStack   = 0
	offTID     = 24
	offPDeath  = 32
	answerSize = 40
)

// The flags of sigaltstack(2).
const (
	ssOnStack = 1 // The thread runs on it at this moment. Not something to restore.
	ssDisable = 2
)

// askThread adds the calls that a thread itself must make. The returned function
// reads the answers into a core image after the batch was run.
func askThread(b *batch) (func(*criu_core.CoreEntry) error, error) {
	addr, err := b.alloc(answerSize)
	if err != nil {
		return nil, err
	}
	// PR_GET_TID_ADDRESS exists for checkpointing (CONFIG_CHECKPOINT_RESTORE).
	b.must("ask for the thread id's address").call(unix.SYS_PRCTL, unix.PR_GET_TID_ADDRESS, addr+offTID)
	b.must("ask for the signal stack").call(unix.SYS_SIGALTSTACK, 0, addr+offStack)
	b.must("ask for the parent-death signal").call(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, addr+offPDeath)
	secbits := b.must("ask for the securebits").call(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS)
	slack := b.must("ask for its timer slack").call(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK)
	personality := b.must("ask for its personality").call(unix.SYS_PERSONALITY, askPersonality)
	noKeys := askKeys(b, unix.KEY_SPEC_THREAD_KEYRING, "thread")
	policy, err := askMemoryPolicy(b)
	if err != nil {
		return nil, err
	}
	marks, err := askMarks(b, threadMarks())
	if err != nil {
		return nil, err
	}
	return func(core *criu_core.CoreEntry) error {
		var a [answerSize]byte
		if err := b.in.Read(addr, a[:]); err != nil {
			return err
		}
		ne := binary.NativeEndian
		tc := core.ThreadCore
		tc.Sas = &criu_core.ThreadSasEntry{
			SsSp:    proto.Uint64(ne.Uint64(a[offStack:])),
			SsFlags: proto.Uint32(ne.Uint32(a[offStack+8:]) &^ ssOnStack),
			SsSize:  proto.Uint64(ne.Uint64(a[offStack+16:])),
		}
		setClearTID(core, ne.Uint64(a[offTID:]))
		if sig := ne.Uint32(a[offPDeath:]); sig != 0 {
			tc.PdeathSig = &sig
		}
		tc.Creds.Secbits = proto.Uint32(uint32(b.calls[secbits].Ret))
		saveTimerSlack(uint64(b.calls[slack].Ret), tc)
		if core.Tc == nil {
			extra.Set(tc, fieldPersonality, uint64(uint32(b.calls[personality].Ret)))
		}
		return errors.Join(noKeys(), policy(tc), marks(tc))
	}, nil
}

// askPersonality makes personality(2) change nothing.
const askPersonality = math.MaxUint32

// threadFromOutside fills in everything about a thread that neither it nor its
// tracer need be asked for. It must be stopped.
func threadFromOutside(pid, tid int) (*criu_core.ThreadCoreEntry, error) {
	st, err := readStatus(pid, tid)
	if err != nil {
		return nil, err
	}
	st.tracer = 0 // It is crtime itself by now.
	for _, o := range append(st.obstacles(), hidden(tid)...) {
		return nil, fmt.Errorf("%w: it has a %s: %s", engine.ErrUnsupported, o.what, o.why)
	}
	tc := &criu_core.ThreadCoreEntry{Comm: &st.name, Creds: saveCredentials(st, 0)}
	head, size, err := robustList(tid)
	if err != nil {
		return nil, err
	}
	tc.FutexRla, tc.FutexRlaLen = &head, proto.Uint32(uint32(size))
	return tc, saveSched(tid, tc)
}

// threadOfTracer adds what the tracer alone can ask for.
func threadOfTracer(th *ptrace.Thread, tc *criu_core.ThreadCoreEntry) error {
	registered, err := th.RSeq()
	if err != nil {
		return err
	}
	tc.RseqEntry = &rseq.RseqEntry{
		RseqAbiPointer: &registered.Pointer, RseqAbiSize: &registered.Size, Signature: &registered.Signature,
	}
	pending, err := th.Pending(false)
	if err != nil {
		return err
	}
	tc.SignalsP = saveSignals(pending)
	return nil
}

// thread fills in a core image, which has what is seen from outside, but for what
// askThread's answers hold.
func thread(th *ptrace.Thread, core *criu_core.CoreEntry, sh *sighand) error {
	tc := core.ThreadCore
	if err := threadOfTracer(th, tc); err != nil {
		return err
	}
	st, err := sh.original(th)
	if err != nil {
		return err
	}
	// The first thread that can take the process's signals does.
	queues := [][][128]byte{signalInfos(tc.SignalsP)}
	if !sh.taken {
		sh.taken = pendingHandler(st.Mask, [][][128]byte{sh.shared}, sh.actions).runs
		queues = append(queues, sh.shared)
	}
	h := pendingHandler(st.Mask, queues, sh.actions)
	var rest func(Limit, int64) (Rest, bool)
	if sh.rests != nil && !h.runs { // A handler ends the call anyway.
		rest = func(limit Limit, whole int64) (Rest, bool) { return sh.rests(th.TID, limit, whole) }
	}
	saveCall(tc, &st.Registers, rest)
	fold(&st.Registers, h)
	if err := saveState(core, &st); err != nil {
		return err
	}
	if core.Tc != nil {
		core.Tc.BlkSigset = &st.Mask
	} else {
		tc.BlkSigset = &st.Mask
	}
	return nil
}

// saveSignals converts a queue of pending signals to the image's form.
func saveSignals(queue [][128]byte) *siginfo.SignalQueueEntry {
	q := &siginfo.SignalQueueEntry{}
	for i := range queue {
		q.Signals = append(q.Signals, &siginfo.SiginfoEntry{Siginfo: queue[i][:]})
	}
	return q
}

// signalInfos is the reverse of saveSignals. Entries of a wrong size are left
// out; checkSignals has refused them in images.
func signalInfos(q *siginfo.SignalQueueEntry) [][128]byte {
	var queue [][128]byte
	for _, e := range q.GetSignals() {
		if len(e.GetSiginfo()) == len(ptrace.SigInfo{}) {
			queue = append(queue, [128]byte(e.GetSiginfo()))
		}
	}
	return queue
}
