// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"math"
	"strings"
	"testing"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/numa"
)

// copyOf copies what of a set this package reads.
func copyOf(set *criuimg.Set) *criuimg.Set {
	c := criuimg.NewSet()
	for _, e := range set.Tree {
		c.Tree = append(c.Tree, proto.CloneOf(e))
		p := set.Process[e.GetPid()]
		q := &criuimg.Process{Core: proto.CloneOf(p.Core), FS: proto.CloneOf(p.FS)}
		for tid, core := range p.Threads {
			if q.Threads == nil {
				q.Threads = map[uint32]*criu_core.CoreEntry{}
			}
			q.Threads[tid] = proto.CloneOf(core)
		}
		c.Process[e.GetPid()] = q
	}
	return c
}

func TestCheckRefuses(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	tests := []struct {
		name   string
		change func(*criu_core.CoreEntry)
		says   string
	}{
		{"unknown state", func(c *criu_core.CoreEntry) { *c.Tc.TaskState = 9 }, "state 9"},
		{"stopped by nothing known", func(c *criu_core.CoreEntry) {
			*c.Tc.TaskState, c.Tc.StopSigno = criuimg.TaskStopped, proto.Uint32(65)
		}, "signal 65"},
		{"zombie of no status", func(c *criu_core.CoreEntry) {
			*c.Tc.TaskState, *c.Tc.ExitCode = criuimg.TaskDead, 0x7f
		}, "wait status 0x7f"},
		{"no signal actions", func(c *criu_core.CoreEntry) { c.Tc.Sigactions = nil }, "0 signals"},
		{"32-bit handler", func(c *criu_core.CoreEntry) { c.Tc.Sigactions[3].CompatSigaction = proto.Bool(true) }, "32-bit handler"},
		{"short siginfo", func(c *criu_core.CoreEntry) { c.Tc.SignalsS.Signals[0].Siginfo = make([]byte, 127) }, "127 bytes"},
		{"signal 0", func(c *criu_core.CoreEntry) { c.Tc.SignalsS.Signals[0].Siginfo = make([]byte, 128) }, "number 0"},
		{"pending SIGKILL", func(c *criu_core.CoreEntry) { c.Tc.SignalsS.Signals[0] = signalInfo(unix.SIGKILL) }, "number 9"},
		{"SIGCONT for a thread", func(c *criu_core.CoreEntry) {
			c.ThreadCore.SignalsP.Signals = []*siginfo.SiginfoEntry{signalInfo(unix.SIGCONT)}
		}, "SIGCONT"},
		{"OOM score", func(c *criu_core.CoreEntry) { *c.Tc.OomScoreAdj = -1001 }, "-1001"},
		{"too many limits", func(c *criu_core.CoreEntry) {
			c.Tc.Rlimits.Rlimits = append(c.Tc.Rlimits.Rlimits, c.Tc.Rlimits.Rlimits[0])
		}, "17 resource limits"},
		{"soft above hard", func(c *criu_core.CoreEntry) {
			r := c.Tc.Rlimits.Rlimits[0]
			*r.Cur, *r.Max = 2, 1
		}, "above its hard limit"},
		{"old seccomp", func(c *criu_core.CoreEntry) { c.Tc.OldSeccompMode = criu_core.SeccompMode_filter.Enum() }, "seccomp"},
		{"seccomp", func(c *criu_core.CoreEntry) { c.ThreadCore.SeccompMode = criu_core.SeccompMode_strict.Enum() }, "seccomp"},
		{"no thread", func(c *criu_core.CoreEntry) { c.ThreadCore = nil }, "nothing about the thread"},
		{"registers of arm64", func(c *criu_core.CoreEntry) { c.Mtype = criu_core.CoreEntry_AARCH64.Enum() }, "another machine"},
		{"no registers", func(c *criu_core.CoreEntry) { c.ThreadInfo.Gpregs = nil }, "another machine"},
		{"32-bit mode", func(c *criu_core.CoreEntry) { c.ThreadInfo.Gpregs.Mode = core_x86.UserX86RegsMode_COMPAT.Enum() }, "32-bit"},
		{"32-bit code", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Gpregs.Cs = 0x23 }, "32-bit"},
		{"stack of the kernel", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Gpregs.Ss = 0x18 }, "selector 0x18"},
		{"data of the kernel", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Gpregs.Ds = 0x18 }, "selector 0x18"},
		{"TLS in the kernel", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Gpregs.FsBase = 1 << 63 }, "outside user memory"},
		{"segment of the GDT", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Tls[0].Limit = 1 }, "GDT"},
		{"no XSAVE", func(c *criu_core.CoreEntry) { c.ThreadInfo.Fpregs.Xsave = nil }, "no XSAVE"},
		{"few registers of the FPU", func(c *criu_core.CoreEntry) { c.ThreadInfo.Fpregs.StSpace = make([]uint32, 31) }, "no XSAVE"},
		{"reserved bits of MXCSR", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Fpregs.Mxcsr = 1 << 16 }, "MXCSR"},
		{"state of another processor", func(c *criu_core.CoreEntry) { *c.ThreadInfo.Fpregs.Xsave.XstateBv = 1 << 62 }, "does not have"},
		{"half of AVX", func(c *criu_core.CoreEntry) {
			x := c.ThreadInfo.Fpregs.Xsave
			*x.XstateBv |= 4
			x.YmmhSpace = make([]uint32, 3)
		}, "AVX"},
		{"shadow stack", func(c *criu_core.CoreEntry) {
			extra.SetBytes(c.ThreadInfo.Fpregs.Xsave, fieldCET, []byte{8, 1, 16, 0})
		}, "shadow stack"},
		{"no credentials", func(c *criu_core.CoreEntry) { c.ThreadCore.Creds = nil }, "no credentials"},
		{"user -1", func(c *criu_core.CoreEntry) { *c.ThreadCore.Creds.Fsuid = math.MaxUint32 }, "id of 4294967295"},
		{"groups", func(c *criu_core.CoreEntry) { c.ThreadCore.Creds.Groups = make([]uint32, 20000) }, "20000 supplementary"},
		{"wide capabilities", func(c *criu_core.CoreEntry) { c.ThreadCore.Creds.CapInh = make([]uint32, 3) }, "3 words"},
		{"security profile", func(c *criu_core.CoreEntry) { c.ThreadCore.Creds.LsmProfile = proto.String("docker") }, "docker"},
		{"deadline", func(c *criu_core.CoreEntry) { *c.ThreadCore.SchedPolicy = unix.SCHED_DEADLINE }, "policy 6"},
		{"nice", func(c *criu_core.CoreEntry) { *c.ThreadCore.SchedNice = 20 }, "nice value of 20"},
		{"ordinary with a priority", func(c *criu_core.CoreEntry) { c.ThreadCore.SchedPrio = proto.Uint32(1) }, "priority 1"},
		{"no CPU", func(c *criu_core.CoreEntry) { extra.SetBytes(c.ThreadCore, fieldAffinity, make([]byte, 100)) }, "CPUs"},
		{"slack", func(c *criu_core.CoreEntry) { extra.Set(c.ThreadCore, fieldTimerSlack, math.MaxUint64) }, "slack"},
		{"robust list", func(c *criu_core.CoreEntry) { *c.ThreadCore.FutexRlaLen = 25 }, "25 bytes"},
		{"rseq", func(c *criu_core.CoreEntry) { *c.ThreadCore.RseqEntry.RseqAbiPointer = 32 }, "0x20"},
		{"I/O priority", func(c *criu_core.CoreEntry) { extra.Set(c.ThreadCore, fieldIOPriority, 4<<13) }, "I/O priority"},
		{"clamps", func(c *criu_core.CoreEntry) { extra.Set(c.ThreadCore, fieldClampMax, 1025) }, "clamps"},
		{"short memory policy", func(c *criu_core.CoreEntry) { extra.SetBytes(c.ThreadCore, fieldPolicy, []byte{1}) }, "memory policy of 1 bytes"},
		{"memory of another machine", func(c *criu_core.CoreEntry) {
			extra.SetBytes(c.ThreadCore, fieldPolicy, numa.Policy{Mode: unix.MPOL_BIND, Nodes: numa.Nodes{127: 0x80}}.Encode())
		}, "set_mempolicy"},
		{"time stamp counter", func(c *criu_core.CoreEntry) { extra.Set(c.ThreadCore, fieldTimeStamps, 3) }, "PR_SET_TSC"},
		{"personality of a thread", func(c *criu_core.CoreEntry) { extra.Set(c.ThreadCore, fieldPersonality, math.MaxUint32) }, "personality"},
		{"merging of memory", func(c *criu_core.CoreEntry) { extra.Set(c.Tc, fieldMergeMemory, 2) }, "PR_SET_MEMORY_MERGE"},
		{"core filter", func(c *criu_core.CoreEntry) { extra.Set(c.Tc, fieldCoreFilter, math.MaxUint64) }, "core dump"},
		{"parent-death signal", func(c *criu_core.CoreEntry) { c.ThreadCore.PdeathSig = proto.Uint32(99) }, "99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := copyOf(set)
			tt.change(c.Process[c.PIDs()[0]].Core)
			err := Check(c)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want something about %q", err, tt.says)
			}
		})
	}
	c := copyOf(set)
	c.Process[c.PIDs()[0]] = nil
	if err := Check(c); err == nil {
		t.Error("a process without images was accepted")
	}
}

func TestCheckRights(t *testing.T) {
	f := startFamily(t)
	set := f.collect()
	own, err := ownRights()
	if err != nil {
		t.Fatal(err)
	}
	poor := &rights{capabilities: 0, limits: own.limits}
	root := set.PIDs()[0]
	var capability *CapabilityError
	if err := poor.checkProcess(root, set.Process[root]); !errors.As(err, &capability) {
		t.Errorf("capabilities from nowhere: %v", err)
	}
	c := copyOf(set)
	files := c.Process[root].Core.Tc.Rlimits.Rlimits[unix.RLIMIT_NOFILE]
	*files.Max = own.limits.Rlimits[unix.RLIMIT_NOFILE].GetMax() + 1
	bounded := &rights{capabilities: own.capabilities &^ (1 << unix.CAP_SYS_RESOURCE), limits: own.limits}
	var limit *LimitError
	if err := bounded.checkProcess(root, c.Process[root]); !errors.As(err, &limit) || limit.Name != "Max open files" {
		t.Errorf("a limit above the own one: %v", err)
	}
	able := &rights{capabilities: own.capabilities | 1<<unix.CAP_SYS_RESOURCE, limits: own.limits}
	if err := able.checkProcess(root, c.Process[root]); err != nil {
		t.Errorf("the same with CAP_SYS_RESOURCE: %v", err)
	}
	tied := &rights{capabilities: own.capabilities, limits: own.limits, noNewPrivs: true}
	if err := tied.checkProcess(root, set.Process[root]); err == nil || !strings.Contains(err.Error(), "no_new_privs") {
		t.Errorf("no_new_privs taken back: %v", err)
	}
}

func TestCheckPrivilege(t *testing.T) {
	f := startFamily(t, "users")
	set := f.collect()
	if err := CheckPrivilege(set, 0); err != nil {
		t.Errorf("images of root: %v", err)
	}
	var privilege *PrivilegeError
	if err := CheckPrivilege(set, 65534); !errors.As(err, &privilege) || privilege.PID != set.PIDs()[0] || privilege.Wants != "user id 0" {
		t.Errorf("images of nobody with a root process: %v", err)
	}
	// A tree of what nobody may have.
	pid, nobody := childOf(t, set, ofNobody)
	s := criuimg.NewSet()
	s.Tree = []*pstree.PstreeEntry{{Pid: &pid, Ppid: proto.Uint32(0), Pgid: &pid, Sid: &pid, Threads: []uint32{pid}}}
	s.Process[pid] = nobody
	c := nobody.Core.ThreadCore.Creds
	if err := CheckPrivilege(s, 65534); !errors.As(err, &privilege) || privilege.Wants != "group id 100" {
		t.Errorf("with foreign groups: %v", err)
	}
	c.Groups = nil
	if err := CheckPrivilege(s, 65534); err != nil {
		t.Errorf("nobody's own process: %v", err)
	}
	c.ProtoReflect().SetUnknown(nil)
	extra.Set(c, fieldCapAmb, 1)
	if err := CheckPrivilege(s, 65534); !errors.As(err, &privilege) || privilege.Wants != "capabilities 0x1" {
		t.Errorf("with an ambient capability: %v", err)
	}
}

// FuzzCheck has Check judge arbitrary images of a process and one more thread:
// it must not panic, and what it accepts the rest of the package can use.
func FuzzCheck(f *testing.F) {
	family := startFamily(f, "users")
	set := family.collect()
	family.end()
	for _, pid := range set.PIDs() {
		p := set.Process[pid]
		leader, err := proto.Marshal(p.Core)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(leader, leader)
		for _, core := range p.Threads {
			thread, err := proto.Marshal(core)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(leader, thread)
		}
	}
	f.Fuzz(func(t *testing.T, leader, thread []byte) {
		const pid, tid = 1000, 1001
		p := &criuimg.Process{Core: &criu_core.CoreEntry{}}
		further := &criu_core.CoreEntry{}
		if proto.Unmarshal(leader, p.Core) != nil || proto.Unmarshal(thread, further) != nil {
			t.Skip("no images")
		}
		p.Threads = map[uint32]*criu_core.CoreEntry{tid: further}
		s := criuimg.NewSet()
		s.Tree = []*pstree.PstreeEntry{{
			Pid: proto.Uint32(pid), Ppid: proto.Uint32(0), Pgid: proto.Uint32(pid), Sid: proto.Uint32(pid), Threads: []uint32{pid, tid},
		}}
		s.Process[pid] = p
		if err := Check(s); err != nil {
			return
		}
		if _, err := Births(s, Origin{SID: 900, PGID: 901}); err != nil {
			t.Errorf("Births: %v", err)
		}
		if err := CheckPrivilege(s, 0); err != nil {
			t.Errorf("CheckPrivilege: %v", err)
		}
		if p.Zombie() {
			return
		}
		Stopped(s, pid)
		personalityOf(p.Core.Tc)
		for _, id := range []uint32{pid, tid} {
			state, err := State(s, pid, id)
			if err != nil {
				t.Errorf("State: %v", err)
				continue
			}
			core, err := threadOf(s, pid, id)
			if err != nil {
				t.Fatal(err)
			}
			getCall(core.ThreadCore)
			again := &criu_core.CoreEntry{Mtype: core.Mtype, ThreadCore: core.ThreadCore}
			if err := saveState(again, &state); err != nil {
				t.Errorf("what was loaded cannot be saved: %v", err)
			}
		}
	})
}
