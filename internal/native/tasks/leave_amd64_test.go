// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
)

// codePage is where processes have the only code of theirs: pause(2) for ever.
const codePage = 0x20_0000_0000

// waitingCode is mov $34, %eax; syscall; jmp to the beginning.
const waitingCode = "\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"

// letWait replaces the registers of a thread's image by some that run waitingCode.
func letWait(t *testing.T, set *criuimg.Set, pid, tid uint32) {
	t.Helper()
	core, err := threadOf(set, pid, tid)
	if err != nil {
		t.Fatal(err)
	}
	ip, ax, orig := uint64(codePage), uint64(0), ^uint64(0)
	g := core.ThreadInfo.Gpregs
	core.ThreadInfo.Gpregs = &core_x86.UserX86RegsEntry{}
	*core.ThreadInfo.Gpregs = core_x86.UserX86RegsEntry{
		R15: g.R15, R14: g.R14, R13: g.R13, R12: g.R12, Bp: g.Bp, Bx: g.Bx, R11: g.R11, R10: g.R10, R9: g.R9, R8: g.R8,
		Ax: &ax, Cx: g.Cx, Dx: g.Dx, Si: g.Si, Di: g.Di, OrigAx: &orig, Ip: &ip, Cs: g.Cs, Flags: g.Flags, Sp: g.Sp, Ss: g.Ss,
		FsBase: g.FsBase, GsBase: g.GsBase, Ds: g.Ds, Es: g.Es, Fs: g.Fs, Gs: g.Gs, Mode: g.Mode,
	}
}

// mapCode gives a stub waitingCode.
func mapCode(stub *remote.Stub) error {
	calls := []remote.Call{
		{Name: "map a page", Nr: unix.SYS_MMAP, Must: true, Args: [6]uint64{
			codePage, 4096, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED, ^uint64(0),
		}},
	}
	if err := stub.Run(calls); err != nil {
		return err
	}
	if err := stub.Write(codePage, []byte(waitingCode)); err != nil {
		return err
	}
	return stub.Run([]remote.Call{{Name: "make it code", Nr: unix.SYS_MPROTECT, Must: true, Args: [6]uint64{
		codePage, 4096, unix.PROT_READ | unix.PROT_EXEC,
	}}})
}

// release lets a complete process go, as a restore does.
func (n *nursery) release(pid uint32, threads []*ptrace.Thread) error {
	states := map[*ptrace.Thread]remote.State{}
	for _, th := range threads {
		state, err := State(n.set, pid, uint32(th.TID))
		if err != nil {
			return err
		}
		states[th] = state
	}
	stub := n.stubs[int(pid)]
	if err := stub.Leave(states); err != nil {
		return err
	}
	if sig := Stopped(n.set, pid); sig != 0 {
		if err := unix.Kill(int(pid), sig); err != nil {
			return err
		}
	}
	for _, th := range threads {
		if err := th.Detach(0); err != nil {
			return err
		}
	}
	delete(n.stubs, int(pid))
	return nil
}

// signalLines are the lines of a thread's status about its signals.
func signalLines(pid, tid uint32) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "SigPnd", "ShdPnd", "SigBlk", "SigIgn":
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, ", ")
}

// TestReleased rebuilds processes that run afterwards, and looks at them from
// outside: what was pending is pending, what was stopped is stopped.
func TestReleased(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	want := map[uint32]string{}
	for _, tid := range set.Process[uint32(f.root)].TIDs(uint32(f.root)) {
		want[tid] = signalLines(uint32(f.root), tid)
	}
	f.end()
	root := set.PIDs()[0]
	before := set.Process[root].TIDs(root)
	renumber(t, set)
	root = set.PIDs()[0]
	for _, pid := range set.PIDs() {
		if p := set.Process[pid]; !p.Zombie() {
			for _, tid := range p.TIDs(pid) {
				letWait(t, set, pid, tid)
			}
		}
	}
	rebuild(t, set, func(n *nursery) error {
		all := map[uint32][]*ptrace.Thread{}
		for _, pid := range set.PIDs() {
			if set.Process[pid].Zombie() {
				continue
			}
			threads, err := n.complete(pid)
			if err == nil {
				err = mapCode(n.stubs[int(pid)])
			}
			if err != nil {
				return err
			}
			all[pid] = threads
		}
		defer n.endReleased()
		for pid, threads := range all {
			if err := n.release(pid, threads); err != nil {
				return err
			}
		}
		for i, tid := range set.Process[root].TIDs(root) {
			equal(t, fmt.Sprintf("signals of thread %d", tid), signalLines(root, tid), want[before[i]])
			awaitCall(t, root, tid, unix.SYS_PAUSE)
		}
		pid, _ := childOf(t, set, stops-2) // There are no other users in this tree.
		equal(t, "state of what SIGTSTP had stopped", awaitStop(t, pid), unix.SIGTSTP)
		pid, _ = childOf(t, set, stopsForSure-2)
		equal(t, "state of what SIGSTOP had stopped", awaitStop(t, pid), unix.SIGSTOP)
		return nil
	})
}

// endReleased kills what no stub stands for any more.
func (n *nursery) endReleased() {
	for _, pid := range n.born {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// awaitCall waits until a thread is in a system call.
func awaitCall(t *testing.T, pid, tid uint32, nr int) {
	t.Helper()
	text := ""
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
		if text = string(b); err == nil && strings.HasPrefix(text, fmt.Sprint(nr, " ")) {
			return
		}
	}
	t.Errorf("thread %d of process %d is in call %q, want %d", tid, pid, text, nr)
}

// awaitStop waits until a process is stopped and says by which signal, which only
// its parent and a tracer can know.
func awaitStop(t *testing.T, pid uint32) unix.Signal {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := proc.ReadStat(int(pid))
		if err != nil {
			t.Error(err)
			return 0
		}
		if stat.State == proc.Stopped {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("process %d is in state %c", pid, stat.State)
			return 0
		}
	}
	var sig unix.Signal
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		th, err := tr.Seize(int(pid))
		if err != nil {
			return err
		}
		stop, err := th.Wait()
		sig = stop.Signal
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return sig
}

// TestPendingContinue queues the one signal that batches of a stub take back.
func TestPendingContinue(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	f.end()
	renumber(t, set)
	root := set.PIDs()[0]
	tc := set.Process[root].Core.Tc
	tc.SignalsS.Signals = append(tc.SignalsS.Signals, signalInfo(unix.SIGCONT))
	if err := Check(set); err != nil {
		t.Fatal(err)
	}
	rebuild(t, set, func(n *nursery) error {
		threads, err := n.complete(root)
		if err != nil {
			return err
		}
		infos, err := threads[0].Pending(true)
		equal(t, "pending signals", pending(infos), "[12/0/0 35/-1/7 35/-1/8 18/0/0]")
		return err
	})
}

func TestPendingStop(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	root := set.PIDs()[0]
	core := set.Process[root].Core
	equal(t, "to be stopped", Stopped(set, root), 0)
	core.ThreadCore.SignalsP.Signals = append(core.ThreadCore.SignalsP.Signals, signalInfo(unix.SIGSTOP))
	equal(t, "to be stopped", Stopped(set, root), unix.SIGSTOP)
	if left := queueable(signalInfos(core.ThreadCore.SignalsP)); pending(left) != "[1/-1/9]" {
		t.Errorf("queued all the same: %s", pending(left))
	}
}

// TestStoppedInOrphanedGroup changes the images of a process that SIGTSTP stopped.
func TestStoppedInOrphanedGroup(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	pid, p := childOf(t, set, stops-2)
	equal(t, "as it was", Stopped(set, pid), unix.SIGTSTP)
	actions := p.Core.Tc.Sigactions
	handler := uint64(0x1000)
	old := actions[unix.SIGTSTP-3].Sigaction // SIGKILL and SIGSTOP are left out.
	actions[unix.SIGTSTP-3].Sigaction = &handler
	equal(t, "with a handler", Stopped(set, pid), unix.SIGSTOP)
	actions[unix.SIGTSTP-3].Sigaction = old
	for _, e := range set.Tree {
		if e.GetPid() == pid {
			*e.Pgid = set.Tree[0].GetPgid()
		}
	}
	equal(t, "in the group of its parent", Stopped(set, pid), unix.SIGSTOP)
}
