// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	imagefs "github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
)

// Target is one process of a frozen tree.
type Target struct {
	Process *ptrace.Process
	Remote  *remote.Runner // nil for a zombie.
}

// The values of TaskCoreEntry.task_state (CRIU's task-state.h).
const (
	stateAlive   = 1
	stateDead    = 2
	stateStopped = 3
)

// Collect writes the processes and threads of a frozen tree, parents before
// children, into s: Tree, and of each process Core, Threads, IDs and the umask
// in FS. What other rooms have put into the same messages stays. The threads
// are left as they were.
//
// rests tells how long interrupted calls had still to wait; nil: nobody can tell.
//
// Timers (Core.Tc.Timers) are not its business; package timers fills them in.
func Collect(targets []Target, s *criuimg.Set, rests Rests) error {
	if err := refuseAdjusters(targets); err != nil {
		return err
	}
	threads, err := lookAtThreads(targets)
	if err != nil {
		return err
	}
	for i, t := range targets {
		pid := t.Process.PID
		stat, err := proc.ReadStat(pid)
		if err != nil {
			return err
		}
		p := s.Process[uint32(pid)]
		if p == nil {
			p = &criuimg.Process{}
			s.Process[uint32(pid)] = p
		}
		s.Tree = append(s.Tree, treeEntry(t.Process, stat, i == 0))
		if t.Process.Zombie {
			p.Core, err = zombie(pid, stat)
		} else {
			err = process(t.Process, t.Remote, &sighand{threads: threads, original: t.Remote.Original, rests: rests}, p)
		}
		if err != nil {
			return fmt.Errorf("process %d (%s): %w", pid, stat.Comm, err)
		}
	}
	return saveIDs(targets, s)
}

// refuseAdjusters refuses processes that use semaphores in a way that is not saved.
func refuseAdjusters(targets []Target) error {
	pids := make([]int, len(targets))
	for i, t := range targets {
		pids[i] = t.Process.PID
	}
	found, err := adjusters(pids)
	for _, o := range found {
		err = errors.Join(err, fmt.Errorf("%w: %s", engine.ErrUnsupported, o))
	}
	return err
}

// treeEntry describes a process's place in the tree. The root has no parent
// there.
func treeEntry(p *ptrace.Process, stat *proc.Stat, root bool) *pstree.PstreeEntry {
	e := &pstree.PstreeEntry{
		Pid: proto.Uint32(uint32(p.PID)), Ppid: proto.Uint32(uint32(p.PPID)),
		Pgid: proto.Uint32(uint32(stat.PGID)), Sid: proto.Uint32(uint32(stat.SID)),
		Threads: []uint32{uint32(p.PID)},
	}
	if root {
		e.Ppid = proto.Uint32(0)
	}
	for _, th := range p.Threads {
		if th.TID != p.PID {
			e.Threads = append(e.Threads, uint32(th.TID))
		}
	}
	return e
}

// zombie describes a process that has ended.
func zombie(pid int, stat *proc.Stat) (*criu_core.CoreEntry, error) {
	code, err := exitCode(pid)
	if err != nil {
		return nil, err
	}
	return &criu_core.CoreEntry{
		Mtype: machine.Enum(),
		Tc: &criu_core.TaskCoreEntry{
			TaskState: proto.Uint32(stateDead), ExitCode: &code, Comm: &stat.Comm,
			Personality: proto.Uint32(0), Flags: proto.Uint32(0), BlkSigset: proto.Uint64(0),
		},
	}, nil
}

// exitCode reads the wait status with which a zombie waits for its parent: the
// last field of its stat file (field 52 of proc_pid_stat(5)).
func exitCode(pid int) (uint32, error) {
	data, err := proc.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const number = 52
	if len(fields) < number-2 {
		return 0, fmt.Errorf("stat of process %d has no exit code", pid)
	}
	code, err := strconv.ParseUint(string(fields[number-3]), 10, 32)
	return uint32(code), err
}

// lookAtThreads looks at all threads from outside, by all cores.
func lookAtThreads(targets []Target) (map[int]*criu_core.ThreadCoreEntry, error) {
	var all [][2]int // Process and thread.
	for _, t := range targets {
		for _, th := range t.Process.Threads {
			all = append(all, [2]int{t.Process.PID, th.TID})
		}
	}
	found := make([]*criu_core.ThreadCoreEntry, len(all))
	var work errgroup.Group
	each := (len(all) + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	for from := 0; from < len(all); from += each {
		work.Go(func() (err error) {
			for i := from; i < min(from+each, len(all)); i++ {
				if found[i], err = threadFromOutside(all[i][0], all[i][1]); err != nil {
					return fmt.Errorf("thread %d of process %d: %w", all[i][1], all[i][0], err)
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	threads := make(map[int]*criu_core.ThreadCoreEntry, len(all))
	for i, tc := range found {
		threads[all[i][1]] = tc
	}
	return threads, nil
}

// process collects a living process into p. sh has what is known of it already.
func process(tp *ptrace.Process, in caller, sh *sighand, p *criuimg.Process) error {
	leader := tp.Leader()
	core, err := processFromOutside(tp)
	if err != nil {
		return err
	}
	p.Core, p.Threads = core, nil
	shared, err := leader.Pending(true)
	if err != nil {
		return err
	}
	core.Tc.SignalsS = saveSignals(shared)

	b := newBatch(in)
	ofProcess, err := askProcess(b)
	if err != nil {
		return err
	}
	ofLeader, err := askThread(b)
	if err != nil {
		return err
	}
	if err := b.run(nil); err != nil {
		return err
	}
	actions, err := ofProcess(core.Tc)
	if err != nil {
		return err
	}
	sh.actions, sh.shared = actions, shared
	core.ThreadCore = sh.threads[leader.TID]
	if err := thread(leader, core, sh); err != nil {
		return err
	}
	if err := ofLeader(core); err != nil {
		return err
	}
	for _, th := range tp.Threads {
		if th == leader {
			continue
		}
		tcore, err := furtherThread(th, in, sh)
		if err != nil {
			return fmt.Errorf("thread %d: %w", th.TID, err)
		}
		if p.Threads == nil {
			p.Threads = make(map[uint32]*criu_core.CoreEntry)
		}
		p.Threads[uint32(th.TID)] = tcore
	}
	return umask(tp.PID, p)
}

// askProcess adds the calls that ask for what threads have in common. The returned
// function reads the answers into an image after the batch was run.
func askProcess(b *batch) (func(*criu_core.TaskCoreEntry) ([]sigaction, error), error) {
	actionsAt, err := readActions(b)
	if err != nil {
		return nil, err
	}
	subreaperAt, err := b.alloc(4)
	if err != nil {
		return nil, err
	}
	b.must("ask whether it is a subreaper").call(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, subreaperAt)
	membarriers := askMembarriers(b)
	noKeys := askKeys(b, unix.KEY_SPEC_PROCESS_KEYRING, "process")
	session := askSessionKeyring(b)
	marks, err := askMarks(b, processMarks())
	if err != nil {
		return nil, err
	}
	return func(tc *criu_core.TaskCoreEntry) ([]sigaction, error) {
		var raw [signals * sigactionSize]byte
		if err := b.in.Read(actionsAt, raw[:]); err != nil {
			return nil, err
		}
		actions := parseActions(raw[:])
		tc.Sigactions = saveActions(actions)
		var subreaper [4]byte
		if err := b.in.Read(subreaperAt, subreaper[:]); err != nil {
			return nil, err
		}
		tc.ChildSubreaper = proto.Bool(binary.NativeEndian.Uint32(subreaper[:]) != 0)
		if registered := membarriers(); registered != 0 {
			extra.Set(tc, fieldMembarriers, registered)
		}
		session(tc)
		return actions, errors.Join(noKeys(), marks(tc))
	}, nil
}

// furtherThread collects a thread that is not the first of its process.
func furtherThread(th *ptrace.Thread, in caller, sh *sighand) (*criu_core.CoreEntry, error) {
	core := &criu_core.CoreEntry{Mtype: machine.Enum(), ThreadCore: sh.threads[th.TID]}
	if err := thread(th, core, sh); err != nil {
		return nil, err
	}
	b := newBatch(in)
	answers, err := askThread(b)
	if err != nil {
		return nil, err
	}
	if err := b.run(th); err != nil {
		return nil, err
	}
	return core, answers(core)
}

// sighand is what is known of a process when its threads are collected, above all
// what they have in common when it is decided which handler runs first.
type sighand struct {
	threads map[int]*criu_core.ThreadCoreEntry // As seen from outside.
	actions []sigaction
	shared  [][128]byte
	taken   bool // A thread that comes before will handle the shared signals.
	// original gives a thread's state as it was when it was stopped.
	original func(*ptrace.Thread) (remote.State, error)
	rests    Rests
}

// errStopSignal says that a signal stopped the process and it is not known which.
var errStopSignal = errors.New("it is stopped by an unknown signal")

// processFromOutside fills in what concerns the process as a whole and needs no
// call in it.
func processFromOutside(tp *ptrace.Process) (*criu_core.CoreEntry, error) {
	stat, err := proc.ReadStat(tp.PID)
	if err != nil {
		return nil, err
	}
	tc := &criu_core.TaskCoreEntry{
		TaskState: proto.Uint32(stateAlive),
		ExitCode:  proto.Uint32(0),
		Flags:     proto.Uint32(uint32(stat.Flags)),
		Comm:      &stat.Comm,
		BlkSigset: proto.Uint64(0),
	}
	if sig := tp.Stopped(); sig != 0 {
		if sig < 0 || sig > signals {
			return nil, errStopSignal
		}
		tc.TaskState, tc.StopSigno = proto.Uint32(stateStopped), proto.Uint32(uint32(sig))
	}
	personality, err := readNumber(fmt.Sprintf("/proc/%d/personality", tp.PID), 16)
	if err != nil {
		return nil, err
	}
	tc.Personality = proto.Uint32(uint32(personality))
	oom, err := readNumber(fmt.Sprintf("/proc/%d/oom_score_adj", tp.PID), 10)
	if err != nil {
		return nil, err
	}
	tc.OomScoreAdj = proto.Int32(int32(oom))
	// A kernel without audit has no such file.
	if login, err := readNumber(fmt.Sprintf("/proc/%d/loginuid", tp.PID), 10); err == nil {
		tc.Loginuid = proto.Uint32(uint32(login))
	}
	if tc.Rlimits, err = readLimits(tp.PID); err != nil {
		return nil, err
	}
	if err := saveCoreFilter(tp.PID, tc); err != nil {
		return nil, err
	}
	return &criu_core.CoreEntry{Mtype: machine.Enum(), Tc: tc}, nil
}

// readNumber reads a file of /proc that holds one number.
func readNumber(path string, base int) (int64, error) {
	data, err := proc.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), base, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// umask notes the process's umask beside its working directory, which others
// find out.
func umask(pid int, p *criuimg.Process) error {
	st, err := readStatus(pid, pid)
	if err != nil {
		return err
	}
	if p.FS == nil {
		p.FS = &imagefs.FsEntry{}
	}
	p.FS.Umask = &st.umask
	return nil
}
