// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// testArea is where the stubs of the tests live.
const testArea = 0x10_0000_0000

// nursery is a tree of stubs that is rebuilt from a set.
type nursery struct {
	t      testing.TB
	set    *criuimg.Set
	tracer *ptrace.Tracer
	stubs  map[int]*remote.Stub
	born   []int
}

// rebuild makes the processes of a set as stubs and calls f. They end with it. f is
// called again if another program on the machine took one of the numbers before
// the set could have it.
func rebuild(t testing.TB, set *criuimg.Set, f func(*nursery) error) {
	t.Helper()
	var err error
	for range 5 {
		if err = rebuildOnce(t, set, f); !errors.Is(err, remote.ErrPIDTaken) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rebuildOnce is one try of rebuild.
func rebuildOnce(t testing.TB, set *criuimg.Set, f func(*nursery) error) error {
	return ptrace.Run(func(tr *ptrace.Tracer) error {
		n := &nursery{t: t, set: set, tracer: tr, stubs: map[int]*remote.Stub{}}
		defer n.end()
		if err := n.bear(); err != nil {
			return err
		}
		return f(n)
	})
}

// bear carries out the plan of births.
func (n *nursery) bear() error {
	origin, err := Here(false)
	if err != nil {
		return err
	}
	steps, err := Births(n.set, origin)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Action != Fork {
			if err := Do(s, n.stubs); err != nil {
				return fmt.Errorf("%v: %w", s, err)
			}
			continue
		}
		var stub *remote.Stub
		if s.Parent == 0 {
			stub, err = remote.Spawn(n.tracer, s.PID, testArea)
		} else {
			stub, err = n.stubs[s.Parent].Fork(s.PID, 0)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		n.stubs[s.PID], n.born = stub, append(n.born, s.PID)
	}
	return nil
}

// end kills and collects everything.
func (n *nursery) end() {
	for _, pid := range slices.Backward(n.born) {
		if stub := n.stubs[pid]; stub != nil {
			if err := stub.Kill(); err != nil {
				n.t.Error(err)
			}
		}
	}
	for _, pid := range n.born {
		testkit.Reap(n.t, pid)
	}
}

// complete does all that this package does to a process, in the order of a
// restore, and returns its threads.
func (n *nursery) complete(pid uint32) ([]*ptrace.Thread, error) {
	stub := n.stubs[int(pid)]
	if err := n.mapSequences(pid); err != nil {
		return nil, err
	}
	if err := Prepare(n.set, pid, stub); err != nil {
		return nil, err
	}
	threads := []*ptrace.Thread{stub.Thread}
	tids := n.set.Process[pid].TIDs(pid)
	for _, tid := range tids[1:] {
		th, err := stub.NewThread(int(tid))
		if err != nil {
			return nil, err
		}
		threads = append(threads, th)
	}
	for i, tid := range tids {
		if err := Thread(n.set, pid, tid, stub, threads[i]); err != nil {
			return nil, err
		}
	}
	for i, tid := range tids {
		if err := Queue(n.set, pid, tid, stub, threads[i]); err != nil {
			return nil, err
		}
		if err := Credentials(n.set, pid, tid, stub, threads[i]); err != nil {
			return nil, err
		}
	}
	return threads, nil
}

// mapSequences maps the pages in which the threads have their struct rseq, the
// only memory that is touched.
func (n *nursery) mapSequences(pid uint32) error {
	p := n.set.Process[pid]
	var calls []remote.Call
	pages := map[uint64]bool{}
	for _, tid := range p.TIDs(pid) {
		core, err := threadOf(n.set, pid, tid)
		if err != nil {
			return err
		}
		page := core.ThreadCore.RseqEntry.GetRseqAbiPointer() &^ 0xfff
		if page == 0 || pages[page] {
			continue
		}
		pages[page] = true
		calls = append(calls, remote.Call{Name: "map a page", Nr: unix.SYS_MMAP, Must: true, Args: [6]uint64{
			page, 4096, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED, ^uint64(0),
		}})
	}
	return n.stubs[int(pid)].Run(calls)
}

// collectAgain collects a stub as if it were a program.
func (n *nursery) collectAgain(pid uint32, threads []*ptrace.Thread) (*criuimg.Process, error) {
	p := &criuimg.Process{}
	tp := &ptrace.Process{PID: int(pid), Threads: threads}
	original := func(th *ptrace.Thread) (remote.State, error) { return State(n.set, pid, uint32(th.TID)) }
	seen, err := lookAtThreads([]Target{{Process: tp}})
	if err != nil {
		return nil, err
	}
	return p, process(tp, n.stubs[int(pid)], &sighand{threads: seen, original: original}, p)
}

// TestRestoreIsWhatWasCollected collects a tree, rebuilds it, and collects it
// again: nothing may have changed.
func TestRestoreIsWhatWasCollected(t *testing.T) {
	f := startFamily(t, "users")
	set := f.collect()
	f.end()
	renumber(t, set)
	// Package memory says that; the program has given it up.
	undumpable, p := childOf(t, set, withCapabilities)
	p.MM = &mm.MmEntry{Dumpable: proto.Int32(0)}
	if err := Check(set); err != nil {
		t.Fatal(err)
	}
	rebuild(t, set, func(n *nursery) error {
		now := map[uint32]*criuimg.Process{}
		for _, pid := range set.PIDs() {
			if set.Process[pid].Zombie() {
				continue
			}
			threads, err := n.complete(pid)
			if err != nil {
				return err
			}
			got, err := n.collectAgain(pid, threads)
			if err != nil {
				return err
			}
			sameProcess(t, set, pid, got)
			now[pid] = got
			dumpable, err := dumpableOf(n.stubs[int(pid)])
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("process %d is dumpable", pid), dumpable, pid != undumpable)
		}
		samePlaces(t, set)
		sameKeyrings(t, set, now)
		return nil
	})
}

// ownKeyring asks for crtime's own session keyring; 0 where there are no keys.
func ownKeyring() uint64 {
	serial, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err != nil {
		return 0
	}
	return uint64(serial)
}

// sameKeyrings compares which processes share a session keyring. None is to have
// crtime's.
func sameKeyrings(t *testing.T, set *criuimg.Set, now map[uint32]*criuimg.Process) {
	t.Helper()
	of := func(p *criuimg.Process) uint64 {
		serial, _ := extra.Value(p.Core.Tc, fieldKeyring)
		return serial
	}
	for a := range now {
		if own := ownKeyring(); own != 0 && (of(now[a]) == 0 || of(now[a]) == own) {
			t.Errorf("process %d has the session keyring %d, and crtime has %d", a, of(now[a]), own)
		}
		for b := range now {
			equal(t, fmt.Sprintf("processes %d and %d have one session keyring", a, b),
				of(now[a]) == of(now[b]), of(set.Process[a]) == of(set.Process[b]))
		}
	}
}

// sameProcess compares the images of a process before and after. The root of a
// tree has lost its parent, and with it what the end of that would have meant.
func sameProcess(t *testing.T, set *criuimg.Set, pid uint32, got *criuimg.Process) {
	t.Helper()
	want, root := set.Process[pid], pid == set.PIDs()[0]
	skip := func(path string) bool {
		switch path {
		case "thread_core.pdeath_sig":
			return root
		case "tc.50002": // Its keyring: see sameKeyrings.
			return true
		case "tc.flags", // The kernel's own marks.
			"tc.task_state", "tc.stop_signo", // It is stopped when it is let go.
			"thread_core.50003", "thread_info.gpregs.orig_ax": // It is in no system call any more.
			return true
		}
		return false
	}
	for _, tid := range want.TIDs(pid) {
		a, b := want.Core, got.Core
		if tid != pid {
			a, b = want.Threads[tid], got.Threads[tid]
		}
		if b == nil {
			t.Errorf("thread %d of process %d is missing", tid, pid)
			continue
		}
		if root {
			equal(t, fmt.Sprintf("parent-death signal of thread %d of the root", tid), b.ThreadCore.GetPdeathSig(), 0)
		}
		if list := differences(a, b, skip); len(list) > 0 {
			t.Errorf("thread %d of process %d:\n\t%s", tid, pid, strings.Join(list, "\n\t"))
		}
	}
	equal(t, fmt.Sprintf("umask of process %d", pid), got.FS.GetUmask(), want.FS.GetUmask())
}

// samePlaces compares parents, groups, sessions and wait statuses with the set.
func samePlaces(t *testing.T, set *criuimg.Set) {
	t.Helper()
	for _, e := range set.Tree {
		stat, err := proc.ReadStat(int(e.GetPid()))
		if err != nil {
			t.Error(err)
			continue
		}
		parent := int(e.GetPpid())
		if parent == 0 {
			parent = os.Getpid()
		}
		equal(t, fmt.Sprintf("place of process %d", e.GetPid()),
			fmt.Sprint(stat.PPID, stat.PGID, stat.SID), fmt.Sprint(parent, e.GetPgid(), e.GetSid()))
		if p := set.Process[e.GetPid()]; p.Zombie() {
			equal(t, fmt.Sprintf("name of zombie %d", e.GetPid()), stat.Comm, p.Core.Tc.GetComm())
			equal(t, fmt.Sprintf("state of zombie %d", e.GetPid()), stat.State, proc.Zombie)
			status, err := exitCode(int(e.GetPid()))
			if err != nil {
				t.Error(err)
			}
			equal(t, fmt.Sprintf("wait status of zombie %d", e.GetPid()), status, p.Core.Tc.GetExitCode())
		}
	}
}

// dumpableOf asks a stub whether it may dump core.
func dumpableOf(stub *remote.Stub) (bool, error) {
	calls := []remote.Call{{Name: "ask whether it may dump core", Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_DUMPABLE}, Must: true}}
	err := stub.Run(calls)
	return calls[0].Ret == 1, err
}

// renumber gives the processes and threads of a set other numbers, high ones that
// nobody on this machine comes to while the test runs.
func renumber(t testing.TB, set *criuimg.Set) {
	t.Helper()
	highest, err := readNumber("/proc/sys/kernel/pid_max", 10)
	if err != nil {
		t.Fatal(err)
	}
	next := int(highest) - 1 - 200*(1+os.Getpid()%50)
	numbers := map[uint32]uint32{}
	fresh := func(old *uint32) {
		for numbers[*old] == 0 {
			next++
			if _, err := os.Lstat(fmt.Sprintf("/proc/%d", next)); errors.Is(err, fs.ErrNotExist) {
				numbers[*old] = uint32(next)
			}
		}
		*old = numbers[*old]
	}
	processes := map[uint32]*criuimg.Process{}
	for _, e := range set.Tree {
		p := set.Process[e.GetPid()]
		fresh(e.Pid)
		processes[*e.Pid] = p
		threads := map[uint32]*criu_core.CoreEntry{}
		for i := range e.Threads {
			core := p.Threads[e.Threads[i]]
			fresh(&e.Threads[i])
			if core != nil {
				threads[e.Threads[i]] = core
			}
		}
		p.Threads = threads
	}
	set.Process = processes
	for _, e := range set.Tree {
		for _, old := range []*uint32{e.Ppid, e.Pgid, e.Sid} {
			if *old != 0 {
				fresh(old)
			}
		}
	}
}
