// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// crowd makes a set of one process with n threads, all of them like one of
// family.c.
func crowd(b *testing.B, n int) *criuimg.Set {
	b.Helper()
	f := startFamily(b)
	set := f.collect()
	f.end()
	root := set.Process[set.PIDs()[0]]
	var model *criu_core.CoreEntry
	for _, core := range root.Threads {
		if core.ThreadCore.GetComm() == "beta" {
			model = core
		}
	}
	s := criuimg.NewSet()
	const pid = 1
	e := &pstree.PstreeEntry{
		Pid: proto.Uint32(pid), Ppid: proto.Uint32(0), Pgid: proto.Uint32(pid), Sid: proto.Uint32(pid), Threads: []uint32{pid},
	}
	p := &criuimg.Process{Core: root.Core, FS: root.FS, Threads: map[uint32]*criu_core.CoreEntry{}}
	for tid := uint32(pid + 1); tid < pid+uint32(n); tid++ {
		e.Threads = append(e.Threads, tid)
		p.Threads[tid] = proto.CloneOf(model)
	}
	s.Tree = append(s.Tree, e)
	s.Process[pid] = p
	renumber(b, s)
	return s
}

// BenchmarkRestore measures all that this package does to a process with its
// threads, the making of the process and the threads included.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("threads=%d", n), func(b *testing.B) {
			set := crowd(b, n)
			b.ReportAllocs()
			for b.Loop() {
				rebuild(b, set, func(n *nursery) error {
					_, err := n.complete(set.PIDs()[0])
					return err
				})
			}
		})
	}
}

// BenchmarkCollect measures Collect alone, for a tree of 8 processes, 3 zombies and
// 3 threads.
func BenchmarkCollect(b *testing.B) {
	f := startFamily(b)
	f.frozen(func(targets []Target) error {
		b.ReportAllocs()
		for b.Loop() {
			if err := Collect(targets, criuimg.NewSet(), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkSteps measures each step for a process of one thread.
func BenchmarkSteps(b *testing.B) {
	set := crowd(b, 1)
	pid := set.PIDs()[0]
	core := set.Process[pid].Core
	core.ThreadCore.RseqEntry = nil // It could be registered once only.
	core.Tc.SignalsS, core.ThreadCore.SignalsP = nil, nil
	for _, step := range []struct {
		name string
		f    func(*remote.Stub) error
	}{
		{"Prepare", func(stub *remote.Stub) error { return Prepare(set, pid, stub) }},
		{"Thread", func(stub *remote.Stub) error { return Thread(set, pid, pid, stub, stub.Thread) }},
		{"Queue", func(stub *remote.Stub) error { return Queue(set, pid, pid, stub, stub.Thread) }},
		{"Credentials", func(stub *remote.Stub) error { return Credentials(set, pid, pid, stub, stub.Thread) }},
		{"nothing", func(stub *remote.Stub) error {
			return stub.Run([]remote.Call{{Name: "getpid", Nr: unix.SYS_GETPID}}) // What one stop costs.
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			rebuild(b, set, func(n *nursery) error {
				for b.Loop() {
					if err := step.f(n.stubs[int(pid)]); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// BenchmarkBirths plans a tree whose root has adopted 2000 processes, out of one session
// or each out of its own.
func BenchmarkBirths(b *testing.B) {
	const n = 2000
	for _, sessions := range []int{1, n} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			people := []person{{1, 0, 1, 1, false}}
			for i := range n {
				session := 10_000 + i%sessions
				people = append(people, person{2 + i, 1, session, session, false})
			}
			set := treeOf(people...)
			for b.Loop() {
				if _, err := Births(set, Origin{SID: nobodys, PGID: nobodys}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
