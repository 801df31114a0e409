// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/numa"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// rtmin is SIGRTMIN of the C library.
const rtmin = 34

// Flags of sigaction(2); the C library adds the first.
const (
	saRestorer = 0x04000000
	saSigInfo  = 4
)

// bit is a signal in a mask.
func bit(sig unix.Signal) uint64 { return 1 << (sig - 1) }

// equal compares what was collected with what family.c does.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// pending shows a queue as signal/code/value.
func pending(infos [][128]byte) string {
	var list []string
	for i := range infos {
		info := ptrace.SigInfo(infos[i])
		value := int32(0)
		if info.Code() == -1 { // SI_QUEUE
			value = int32(binary.NativeEndian.Uint32(info[24:]))
		}
		list = append(list, fmt.Sprintf("%d/%d/%d", info.Signal(), info.Code(), value))
	}
	return fmt.Sprint(list)
}

func TestCollect(t *testing.T) {
	f := startFamily(t, "users")
	set := f.collect()
	if len(set.Tree) != 10 {
		t.Fatalf("got %d processes, want 10", len(set.Tree))
	}
	t.Run("root", func(t *testing.T) { checkRoot(t, set) })
	t.Run("threads", func(t *testing.T) { checkThreads(t, set) })
	t.Run("users", func(t *testing.T) { checkUsers(t, set) })
	t.Run("places", func(t *testing.T) { checkPlaces(t, set) })
	t.Run("ends", func(t *testing.T) { checkEnds(t, set) })
	if err := Check(set); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func checkRoot(t *testing.T, set *criuimg.Set) {
	p := set.Process[set.PIDs()[0]]
	tc := p.Core.Tc
	equal(t, "name", tc.GetComm(), "family")
	equal(t, "umask", p.FS.GetUmask(), 0o027)
	equal(t, "personality", tc.GetPersonality(), 0x40000)
	equal(t, "subreaper", tc.GetChildSubreaper(), true)
	equal(t, "OOM score", tc.GetOomScoreAdj(), 123)
	equal(t, "state", tc.GetTaskState(), criuimg.TaskAlive)
	equal(t, "mask", tc.GetBlkSigset(), bit(unix.SIGUSR2)|bit(unix.SIGHUP)|bit(rtmin+1))
	equal(t, "process's pending signals", pending(signalInfos(tc.SignalsS)), "[12/0/0 35/-1/7 35/-1/8]")
	equal(t, "thread's pending signals", pending(signalInfos(p.Core.ThreadCore.SignalsP)), "[1/-1/9]")
	filter, _ := extra.Value(tc, fieldCoreFilter)
	equal(t, "what a core dump holds", filter, 0x7f)
	if _, err := unix.PrctlRetInt(unix.PR_GET_MEMORY_MERGE, 0, 0, 0, 0); err == nil {
		merge, _ := extra.Value(tc, fieldMergeMemory)
		equal(t, "merges memory", merge, 1)
	}
	membarriers, _ := extra.Value(tc, fieldMembarriers)
	equal(t, "membarriers", membarriers, 1<<4)
	actions, err := loadActions(tc.Sigactions)
	if err != nil {
		t.Fatal(err)
	}
	usr1 := actions[unix.SIGUSR1-1]
	equal(t, "handler's flags", usr1.flags&^saRestorer, saSigInfo|saRestart)
	equal(t, "handler's mask", usr1.mask, bit(unix.SIGUSR2)|bit(64))
	equal(t, "has a handler", usr1.handler > sigIgn && usr1.restorer != 0, true)
	equal(t, "action of SIGPIPE", actions[unix.SIGPIPE-1].handler, sigIgn)
	equal(t, "action of SIGTERM", actions[unix.SIGTERM-1].handler, 0)
}

// TestTryMembarriers asks as it is done on old kernels.
func TestTryMembarriers(t *testing.T) {
	f := startFamily(t)
	nativetest.Frozen(t, f.root, func(_ *ptrace.Tree, runners []*remote.Runner) error {
		b := newBatch(runners[0])
		tried := tryMembarriers(b)
		if err := b.run(nil); err != nil {
			return err
		}
		equal(t, "membarriers", tried(), 1<<4)
		return nil
	})
}

func checkThreads(t *testing.T, set *criuimg.Set) {
	p := set.Process[set.PIDs()[0]]
	byName := map[string]*criu_core.CoreEntry{}
	for _, core := range p.Threads {
		byName[core.ThreadCore.GetComm()] = core
	}
	alpha, beta, gamma := byName["alpha thread"], byName["beta"], byName["gamma"]
	if alpha == nil || beta == nil || gamma == nil {
		t.Fatalf("got threads %v", byName)
	}
	a := alpha.ThreadCore
	equal(t, "alpha's nice value", a.GetSchedNice(), 5)
	equal(t, "alpha's stack", a.Sas.GetSsSize(), 1<<16)
	equal(t, "alpha's stack's flags", a.Sas.GetSsFlags(), 0)
	equal(t, "alpha's parent-death signal", a.GetPdeathSig(), uint32(unix.SIGUSR1))
	equal(t, "alpha's pending signals", pending(signalInfos(a.SignalsP)), "[37/-1/100 37/-1/101 37/-1/102 15/-6/0]")
	equal(t, "alpha blocks SIGTERM", a.GetBlkSigset()&bit(unix.SIGTERM) != 0, true)
	equal(t, "alpha has restartable sequences", a.RseqEntry.GetRseqAbiPointer() != 0, true)
	equal(t, "alpha has robust futexes", a.GetFutexRla() != 0 && a.GetFutexRlaLen() == 24, true)
	equal(t, "alpha has an address to clear", clearTID(alpha) != 0, true)
	for _, tt := range []struct {
		what  string
		field protowire.Number
		want  uint64
	}{
		{"I/O priority", fieldIOPriority, 2<<13 | 6},
		{"answer to memory errors", fieldMachineCheck, unix.PR_MCE_KILL_EARLY},
		{"personality", fieldPersonality, 0x0060000},
		{"time stamp counter", fieldTimeStamps, unix.PR_TSC_SIGSEGV},
	} {
		got, _ := extra.Value(a, tt.field)
		equal(t, "alpha's "+tt.what, got, tt.want)
	}
	if numa.Supported() {
		equal(t, "alpha's memory policy", string(extra.Bytes(a, fieldPolicy)), "\x02\x80\x00\x00\x01")
	}
	b := beta.ThreadCore
	if usualSlice() != 0 {
		slice, _ := extra.Value(b, fieldSlice)
		equal(t, "beta's slice", slice, 3210000)
	}
	equal(t, "beta's nice value", b.GetSchedNice(), 7)
	equal(t, "beta's policy", b.GetSchedPolicy(), unix.SCHED_BATCH)
	slack, _ := extra.Value(b, fieldTimerSlack)
	equal(t, "beta's timer slack", slack, 123456)
	equal(t, "beta's CPUs", string(extra.Bytes(b, fieldAffinity)), "\x01")
	equal(t, "beta has no signal stack", b.Sas.GetSsFlags(), ssDisable)
	g := gamma.ThreadCore
	equal(t, "gamma's policy", g.GetSchedPolicy(), unix.SCHED_FIFO|resetOnFork)
	equal(t, "gamma's priority", g.GetSchedPrio(), 3)
	equal(t, "gamma's nice value", g.GetSchedNice(), -3)

	call, ok := getCall(b)
	equal(t, "beta was in a call", ok, true)
	equal(t, "beta's call", call.number == unix.SYS_CLOCK_NANOSLEEP || call.number == unix.SYS_NANOSLEEP, true)
	equal(t, "beta's result", call.result, restartBlocked)
	call, ok = getCall(g)
	equal(t, "gamma was in a call", ok && isEpollWait(call.number), true)
	// Package remote has it repeated, as long as nothing else comes first.
	equal(t, "gamma's result", call.result, restartNoHand)
	equal(t, "gamma's timeout", int32(call.args[3]), -1)
}

func checkUsers(t *testing.T, set *criuimg.Set) {
	_, nobody := childOf(t, set, ofNobody)
	c := nobody.Core.ThreadCore.Creds
	equal(t, "nobody's ids", fmt.Sprint(c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid(), c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid()),
		"65534 65534 65534 65534 65534 65534 65534 65534")
	equal(t, "nobody's groups", fmt.Sprint(c.GetGroups()), "[100 200 300]")
	equal(t, "nobody's capabilities", capSet(c.CapEff)|capSet(c.CapPrm), 0)
	nnp, _ := extra.Value(c, fieldNoNewPrivs)
	equal(t, "nobody's no_new_privs", nnp, 1)
	equal(t, "nobody's parent-death signal", nobody.Core.ThreadCore.GetPdeathSig(), uint32(unix.SIGTERM))
	files := nobody.Core.Tc.Rlimits.Rlimits[unix.RLIMIT_NOFILE]
	equal(t, "nobody's limit of files", fmt.Sprint(files.GetCur(), files.GetMax()), "64 128")

	_, able := childOf(t, set, withCapabilities)
	c = able.Core.ThreadCore.Creds
	equal(t, "ids", fmt.Sprint(c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid(), c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid()),
		"1000 1001 1002 1003 2000 2001 2002 2003")
	equal(t, "groups", len(c.GetGroups()), 0)
	equal(t, "permitted", capSet(c.CapPrm), 1<<unix.CAP_NET_BIND_SERVICE|1<<unix.CAP_NET_RAW|1<<unix.CAP_KILL)
	equal(t, "effective", capSet(c.CapEff), 1<<unix.CAP_NET_RAW)
	equal(t, "inheritable", capSet(c.CapInh), 1<<unix.CAP_NET_BIND_SERVICE|1<<unix.CAP_CHOWN)
	equal(t, "ambient", capSet(extra.All(c, fieldCapAmb)), 1<<unix.CAP_NET_BIND_SERVICE)
	equal(t, "not in the bounding set", capSet(c.CapBnd)&(1<<unix.CAP_CHOWN|1<<unix.CAP_SYS_RAWIO), 0)
	equal(t, "securebits", c.GetSecbits(), 0xc1)
}

func checkPlaces(t *testing.T, set *criuimg.Set) {
	root := set.Tree[0]
	equal(t, "root's parent", root.GetPpid(), 0)
	equal(t, "root's session", root.GetSid(), root.GetPid())
	leader, _ := childOf(t, set, leadsSession)
	i := slices.IndexFunc(set.Tree, func(e *pstree.PstreeEntry) bool { return e.GetPpid() == leader })
	if i < 0 {
		t.Fatal("no grandchild")
	}
	g := set.Tree[i]
	keyrings := func(a, b uint32) [2]uint64 {
		x, _ := extra.Value(set.Process[a].Core.Tc, fieldKeyring)
		y, _ := extra.Value(set.Process[b].Core.Tc, fieldKeyring)
		return [2]uint64{x, y}
	}
	if own := keyrings(leader, root.GetPid()); own != [2]uint64{} {
		equal(t, "session leader has another keyring than the root", own[0] != own[1], true)
		both := keyrings(leader, g.GetPid())
		equal(t, "grandchild has its keyring", both[0], both[1])
	}
	equal(t, "grandchild's session", g.GetSid(), leader)
	equal(t, "grandchild's group", g.GetPgid(), g.GetPid())
	equal(t, "grandchild's name", set.Process[g.GetPid()].Core.Tc.GetComm(), "grandchild")
}

func checkEnds(t *testing.T, set *criuimg.Set) {
	for _, tt := range []struct {
		n      int
		status uint32
	}{{exits, 42 << 8}, {dies, uint32(unix.SIGSEGV)}, {isKilled, uint32(unix.SIGKILL)}} {
		_, p := childOf(t, set, tt.n)
		equal(t, fmt.Sprintf("child %d is a zombie", tt.n), p.Zombie(), true)
		equal(t, fmt.Sprintf("wait status of child %d", tt.n), p.Core.Tc.GetExitCode(), tt.status)
	}
	for n, sig := range map[int]unix.Signal{stops: unix.SIGTSTP, stopsForSure: unix.SIGSTOP} {
		pid, p := childOf(t, set, n)
		equal(t, fmt.Sprintf("state of child %d", n), p.Core.Tc.GetTaskState(), criuimg.TaskStopped)
		equal(t, fmt.Sprintf("stop signal of child %d", n), p.Core.Tc.GetStopSigno(), uint32(sig))
		equal(t, fmt.Sprintf("signal that stops child %d again", n), Stopped(set, pid), sig)
	}
	equal(t, "signal that stops the root", Stopped(set, set.PIDs()[0]), 0)
}
