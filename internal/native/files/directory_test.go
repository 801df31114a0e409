// SPDX-License-Identifier: Apache-2.0

package files

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/parallel"
)

// TestListNumbers tells numbers from what only looks like one.
func TestListNumbers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"self", "1a", "-1", "+1", "12345678901", "10", "9", "0"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := listNumbers(dir); err != nil || !slices.Equal(got, []int{0, 9, 10}) {
		t.Errorf("got %d: %v", got, err)
	}
}

// TestListDescriptors lists more descriptors than one system call does.
func TestListDescriptors(t *testing.T) {
	var own []int
	for range 3000 {
		fd, err := unix.FcntlInt(os.Stdin.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		own = append(own, fd)
	}
	got, err := listDescriptors(os.Getpid())
	if err != nil || !slices.IsSorted(got) {
		t.Errorf("sorted: %v, %v", slices.IsSorted(got), err)
	}
	for _, fd := range own {
		if _, ok := slices.BinarySearch(got, fd); !ok {
			t.Fatalf("descriptor %d is not among the %d", fd, len(got))
		}
	}
}

// FuzzAppendNumbers takes entries apart that no kernel would give.
func FuzzAppendNumbers(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x18\x00\x0a17\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a17\x00"))
	f.Fuzz(func(t *testing.T, entries []byte) {
		for _, n := range appendNumbers(nil, entries) {
			if n < 0 {
				t.Errorf("got %d", n)
			}
		}
	})
}

// TestParallel calls a function with every number once.
func TestParallel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := make([]atomic.Int32, rapid.IntRange(0, 300).Draw(t, "n"))
		parallel.Each(len(calls), func(i int) { calls[i].Add(1) })
		for i := range calls {
			if calls[i].Load() != 1 {
				t.Errorf("%d calls with %d", calls[i].Load(), i)
			}
		}
	})
}

// TestSharingInACrowd finds the two that share among many that do not, whatever
// their order.
func TestSharingInACrowd(t *testing.T) {
	pair, crowd := hold(t, "table", 6), hold(t, "crowd", 104)
	pids := append(slices.Clone(pair.pids), crowd.pids...)
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.Permutation(pids).Draw(rt, "order")
		tree := newTree(order, everything)
		var blamed []int
		for _, pid := range order {
			found, err := tree.sharing(pid)
			if err != nil {
				rt.Fatal(err)
			}
			for _, o := range found {
				blamed = append(blamed, o.PID)
			}
		}
		later := pair.pids[0]
		if slices.Index(order, pair.pids[1]) > slices.Index(order, later) {
			later = pair.pids[1]
		}
		if !slices.Equal(blamed, []int{later}) {
			rt.Errorf("blamed %v, want %d", blamed, later)
		}
	})
}
