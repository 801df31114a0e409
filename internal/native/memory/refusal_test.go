// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/files"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/testkit"
)

// TestObstacles has Survey name what cannot be saved, and Collect refuse it.
func TestObstacles(t *testing.T) {
	for _, test := range []struct {
		mode      string
		processes int
		what      string
	}{
		{"sysv", 1, "System V shared memory"},
		{"userfaultfd", 1, "userfaultfd"},
		{"seal", 1, "sealed mapping"},
		{"secret", 1, "secret memory"},
		{"io_uring", 1, "io_uring"},
		{"key", 1, "memory protection key"},
		{"hugetlb", 1, "hugetlb"},
		{"aio", 1, "asynchronous I/O"},
		{"device", 1, "device"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			h := hold(t, test.processes, "obstacle-"+test.mode)
			found, err := Survey(h.pids)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 || !strings.Contains(found[0].What, test.what) || found[0].PID != h.pids[0] || found[0].Comm != "holder" || found[0].Why == "" {
				t.Errorf("got %+v", found)
			}
			regions, err := readRegions(h.pids[0])
			if err != nil {
				t.Fatal(err)
			}
			err = refuse(regionObstacles(h.pids[0], regions), nil)
			if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), test.what) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNoObstacles surveys what can all be saved.
func TestNoObstacles(t *testing.T) {
	h := hold(t, 1, "anonymous files shared marks guards droppable")
	if found, err := Survey(h.pids); err != nil || len(found) > 0 {
		t.Errorf("got %v, %v", found, err)
	}
	gone := h.pids
	h.end()
	if found, err := Survey(gone); err != nil || len(found) > 0 {
		t.Errorf("got %v, %v for a process that has ended", found, err)
	}
}

// TestSharedWithOthers surveys a process whose memory somebody outside of the tree
// has too.
func TestSharedWithOthers(t *testing.T) {
	h := hold(t, 2, "obstacle-outsider")
	if found, err := Survey(h.pids); err != nil || len(found) > 0 {
		t.Errorf("got %v, %v for the whole tree", found, err)
	}
	found, err := Survey(h.pids[1:])
	if err != nil || len(found) != 1 || !strings.Contains(found[0].What, "shared memory in common") {
		t.Errorf("got %v, %v for the child alone", found, err)
	}
}

// TestSharedSpace surveys two processes that have one memory.
func TestSharedSpace(t *testing.T) {
	cmd := exec.Command(testkit.Build(t, "holder.c"), "obstacle-vfork")
	if testkit.StartReady(t, cmd) == "" {
		t.Fatal("the program is not ready")
	}
	found, err := Survey(testkit.Tree(cmd.Process.Pid))
	if err != nil || len(found) != 1 || !strings.Contains(found[0].What, "memory in common with process") {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestGivenUp dumps a process that has asked the kernel for what no image holds.
func TestGivenUp(t *testing.T) {
	h := hold(t, 1, "obstacle-mdwe")
	err := h.collect(func(*criuimg.Set, *Plan) error { return nil })
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "PR_SET_MDWE") {
		t.Errorf("got %v", err)
	}
}

// TestWriteFails lets the writing fail; the tree then goes on as it was.
func TestWriteFails(t *testing.T) {
	const size = "8388608"
	small := t.TempDir()
	if err := unix.Mount("none", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(small, 0) })
	taken := t.TempDir()
	if err := os.Symlink("elsewhere", filepath.Join(taken, "pages-1.img")); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("no time")
	cancel(reason)
	for _, test := range []struct {
		name string
		ctx  func() context.Context
		dir  string
		kill bool
		want error
	}{
		{"no room", t.Context, small, false, unix.ENOSPC},
		{"a link in the way", t.Context, taken, false, unix.ELOOP},
		{"cancelled", func() context.Context { return cancelled }, t.TempDir(), false, reason},
		{"killed meanwhile", t.Context, t.TempDir(), true, proc.ErrGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := hold(t, 1, "bytes", size)
			dir, err := os.Open(test.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			before := paintAll(t, h.pids...)
			err = h.collect(func(_ *criuimg.Set, p *Plan) error {
				if test.kill {
					unix.Kill(h.pids[0], unix.SIGKILL)
					for paintable(h.pids[0]) {
						unix.Nanosleep(&unix.Timespec{Nsec: 1e5}, nil)
					}
				}
				return p.Write(test.ctx(), dir)
			})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if !test.kill {
				same(t, "the memory of the process", before[h.pids[0]], paintAll(t, h.pids...)[h.pids[0]])
			}
		})
	}
}

// paintable says that a process still has memory.
func paintable(pid int) bool {
	text, err := readProc(pid, "maps")
	return err == nil && len(text) > 0
}

// TestFillFails lets the filling fail: nothing is left of the process, and crtime
// lives.
func TestFillFails(t *testing.T) {
	h := hold(t, 1, "bytes", "8388608")
	d := h.dump()
	pid := h.pids[0]
	h.end()
	area, err := Area(d.set, remote.AreaSize)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	name := filepath.Join(d.dir.Name(), "pages-1.img")
	shorten := func(*Rebuild, *remote.Stub) error { return os.Truncate(name, 4<<20) }
	for _, test := range []struct {
		name string
		ctx  func() context.Context
		do   func(r *Rebuild, stub *remote.Stub) error
		want error
	}{
		{"cancelled", func() context.Context { return cancelled }, func(*Rebuild, *remote.Stub) error { return nil }, context.Canceled},
		{"killed meanwhile", t.Context, func(_ *Rebuild, stub *remote.Stub) error { return stub.Kill() }, proc.ErrGone},
		{"an image that shrinks while it is mapped", t.Context, func(r *Rebuild, stub *remote.Stub) error {
			if _, err := r.pagesFor(r.spaces[pid]); err != nil {
				return err
			}
			return shorten(r, stub)
		}, unix.EFAULT},
		{"an image that is too short", t.Context, shorten, ErrImages},
		{"an image that is gone", t.Context, func(*Rebuild, *remote.Stub) error { return os.Remove(name) }, unix.ENOENT},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := ptrace.Run(func(tr *ptrace.Tracer) error {
				opener, err := files.NewRebuild(d.set, d.dir)
				if err != nil {
					return err
				}
				defer opener.Close()
				r, err := NewRebuild(d.set, d.dir, opener)
				if err != nil {
					return err
				}
				defer r.Close()
				stub, err := remote.Spawn(tr, pid, area)
				if err != nil {
					return err
				}
				defer stub.Kill()
				if err := r.Map(pid, stub, 0); err != nil {
					return err
				}
				if err := test.do(r, stub); err != nil {
					t.Error(err)
				}
				return r.Fill(test.ctx(), pid)
			})
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
