// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/nativetest"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/testkit"
)

// lacking is the status of a holder that needs what the kernel has not.
const lacking = 77

// holder is a running tree of testdata/holder.c.
type holder struct {
	t       testing.TB
	pids    []int // Parents before children.
	parents []int // The parent of each; 0 for the root.
}

// hold starts a tree in a new directory and waits until all its processes, of
// which there are so many, have done what they were to do.
func hold(t testing.TB, processes int, args ...string) *holder {
	t.Helper()
	h := &holder{t: t}
	cmd := exec.Command(testkit.Build(t, "holder.c"), args...)
	cmd.Dir = t.TempDir()
	// The kernel writes the number of the processor into a thread's struct rseq.
	cmd.Env = append(os.Environ(), "GLIBC_TUNABLES=glibc.pthread.rseq=0")
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, os.Stderr
	// Each process writes a byte; when the last has closed its end, each only waits.
	if ready := testkit.StartReady(t, cmd); len(ready) != processes {
		var ws unix.WaitStatus
		unix.Wait4(cmd.Process.Pid, &ws, 0, nil)
		if ws.ExitStatus() == lacking {
			t.Skipf("this kernel has no %v", args)
		}
		t.Fatalf("%d processes of %v are ready, want %d", len(ready), args, processes)
	}
	h.pids = testkit.Tree(cmd.Process.Pid)
	h.parents = make([]int, len(h.pids))
	for _, pid := range h.pids {
		for _, child := range testkit.Children(pid) {
			h.parents[slices.Index(h.pids, child)] = pid
		}
	}
	if len(h.pids) != processes {
		t.Fatalf("there are %d processes, want %d", len(h.pids), processes)
	}
	h.settle()
	return h
}

// settle waits until every process sleeps, and changes nothing any more.
func (h *holder) settle() {
	h.t.Helper()
	for _, pid := range h.pids {
		for {
			call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
			if err != nil {
				h.t.Fatal(err)
			}
			if strings.HasPrefix(string(call), strconv.Itoa(sysPause)+" ") {
				break
			}
		}
	}
}

// sysPause is the number of pause(2) on x86-64, where these tests run; other machines
// do not have the call.
const sysPause = 34

// end kills the tree and waits until it is gone. It may be called twice.
func (h *holder) end() {
	if len(h.pids) > 0 {
		testkit.Kill(h.t, h.pids[0])
		testkit.Reap(h.t, h.pids...)
	}
	h.pids = nil
}

// newSet returns a set that has the processes, and nothing else.
func (h *holder) newSet() *criuimg.Set {
	s := criuimg.NewSet()
	for i, pid := range h.pids {
		s.Tree = append(s.Tree, &pstree.PstreeEntry{
			Pid: proto.Uint32(uint32(pid)), Ppid: proto.Uint32(uint32(h.parents[i])),
			Pgid: proto.Uint32(uint32(pid)), Sid: proto.Uint32(uint32(pid)), Threads: []uint32{uint32(pid)},
		})
		s.Process[uint32(pid)] = &criuimg.Process{
			Core: &criu_core.CoreEntry{},
			IDs:  &criu_core.TaskKobjIdsEntry{FilesId: proto.Uint32(uint32(i) + 1)},
		}
	}
	return s
}

// dumped is what a dump of a tree has made.
type dumped struct {
	set  *criuimg.Set
	dir  *os.File
	plan *Plan
}

// collect collects the tree into a new set, and calls f with the plan while the
// tree still stands.
func (h *holder) collect(f func(s *criuimg.Set, p *Plan) error) error {
	var failed error
	nativetest.Frozen(h.t, h.pids[0], func(_ *ptrace.Tree, runners []*remote.Runner) error {
		s := h.newSet()
		var targets []Target
		var fileTargets []files.Target
		for i, pid := range h.pids {
			targets = append(targets, Target{PID: pid, Remote: runners[i]})
			fileTargets = append(fileTargets, files.Target{PID: pid, Remote: runners[i]})
		}
		c, err := files.Collect(fileTargets, s, files.Limits{GhostBytes: 1 << 20})
		if err != nil {
			failed = err
			return nil
		}
		defer c.Close()
		plan, err := Collect(targets, c, s)
		if err != nil {
			failed = err
			return nil
		}
		defer plan.Close()
		failed = f(s, plan)
		return nil
	})
	return failed
}

// dump dumps the tree, which then runs on, into a directory of images.
func (h *holder) dump() *dumped {
	h.t.Helper()
	dir, err := os.Open(h.t.TempDir())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { dir.Close() })
	d := &dumped{dir: dir}
	err = h.collect(func(s *criuimg.Set, p *Plan) error {
		d.set, d.plan = s, p
		if err := p.Write(context.Background(), dir); err != nil {
			return err
		}
		return writeGhosts(dir.Name(), s)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	// Only what the images can hold goes on.
	for _, p := range d.set.Process {
		p.MM = clone(h.t, p.MM)
	}
	return d
}

// writeGhosts keeps the contents of deleted files until the restore; the images
// of package files do it otherwise.
func writeGhosts(dir string, s *criuimg.Set) error {
	for id, g := range s.Ghost {
		if g.Content == nil {
			continue
		}
		b, err := io.ReadAll(io.NewSectionReader(g.Content, 0, g.Size))
		if err != nil {
			return err
		}
		f, err := os.Create(fmt.Sprintf("%s/ghost-%d", dir, id))
		if err != nil {
			return err
		}
		if _, err := f.Write(b); err != nil {
			return err
		}
		g.Content = f
	}
	return nil
}

// clone sends a message through its encoded form.
func clone[M proto.Message](t testing.TB, m M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out.(M)
}

// restored rebuilds the memory of a tree in new processes of the same numbers,
// and calls f while they stand still, with the stubs.
func (d *dumped) restored(t testing.TB, pids, parents []int, f func(r *Rebuild, stubs map[int]*remote.Stub) error) error {
	t.Helper()
	if err := Check(d.set); err != nil {
		return err
	}
	area, err := Area(d.set, remote.AreaSize)
	if err != nil {
		return err
	}
	return ptrace.Run(func(tr *ptrace.Tracer) (err error) {
		opener, err := files.NewRebuild(d.set, d.dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opener.Close()) }()
		r, err := NewRebuild(d.set, d.dir, opener)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		stubs := make(map[int]*remote.Stub)
		defer func() {
			for _, pid := range slices.Backward(pids) {
				if stubs[pid] != nil {
					err = errors.Join(err, stubs[pid].Kill())
				}
			}
			for _, pid := range pids {
				unix.Wait4(pid, nil, unix.WALL, nil) // Zombies of stubs that were parents.
			}
		}()
		for i, pid := range pids {
			if parents[i] == 0 {
				stubs[pid], err = remote.Spawn(tr, pid, area)
			} else {
				stubs[pid], err = stubs[parents[i]].Fork(pid, 0)
			}
			if err != nil {
				return err
			}
			if err := r.Map(pid, stubs[pid], parents[i]); err != nil {
				return err
			}
			if err := r.Fill(context.Background(), pid); err != nil {
				return err
			}
		}
		for _, pid := range pids {
			if err := r.Finish(pid, stubs[pid]); err != nil {
				return err
			}
		}
		return f(r, stubs)
	})
}
