// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/image"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// TestRoundTrip dumps trees, kills them, rebuilds their memory in new processes
// of the same numbers, and compares all that can be seen of both.
func TestRoundTrip(t *testing.T) {
	for _, test := range []struct {
		mode      string
		processes int
	}{
		{"anonymous", 1},
		{"files", 1},
		{"shared", 1},
		{"marks", 1},
		{"guards", 1},
		{"family", 4},
		{"anonymous files shared marks guards", 1},
	} {
		t.Run(test.mode, func(t *testing.T) {
			h := hold(t, test.processes, test.mode)
			d := h.dump()
			before := paintAll(t, h.pids...)
			pids, parents := h.pids, h.parents
			h.end()
			err := d.restored(t, pids, parents, func(_ *Rebuild, stubs map[int]*remote.Stub) error {
				after := map[int]*picture{}
				for _, pid := range pids {
					after[pid] = paint(t, pid, areaOf(stubs[pid]))
					same(t, "the memory of process", before[pid], after[pid])
				}
				sameSharing(t, pids, before, after)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRoundTripOfWhatCRIULacks is TestRoundTrip for mappings whose contents are not
// kept, or of which CRIU has no image.
func TestRoundTripOfWhatCRIULacks(t *testing.T) {
	h := hold(t, 1, "droppable")
	d := h.dump()
	pid := h.pids[0]
	before := paintAll(t, pid)[pid]
	h.end()
	err := d.restored(t, []int{pid}, []int{0}, func(_ *Rebuild, stubs map[int]*remote.Stub) error {
		after := paint(t, pid, areaOf(stubs[pid]))
		var lost []string
		for line := range strings.Lines(difference(before.lines, after.lines)) {
			lost = append(lost, line)
		}
		// The page of the droppable mapping, and what it holds.
		if len(lost) != 2 || !strings.HasPrefix(lost[0], "-   populated") || !strings.Contains(lost[1], "holds") {
			t.Errorf("before and after differ in\n%s", lost)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRoundTripOfPlaces is TestRoundTrip for what nobody but crtime saves: where new
// pages of a mapping come from, and what becomes of memory that is mapped later.
func TestRoundTripOfPlaces(t *testing.T) {
	for _, test := range []struct {
		mode     string
		policies int
		lock     uint64
	}{
		{"placed", 2, mclFuture | mclOnFault},
		{"future", 0, mclFuture},
	} {
		t.Run(test.mode, func(t *testing.T) {
			h := hold(t, 1, test.mode)
			d := h.dump()
			pid := h.pids[0]
			before, policies := paintAll(t, pid)[pid], numaMaps(t, pid, span{})
			if len(policies) < test.policies {
				t.Errorf("the program has the policies %v", policies)
			}
			h.end()
			err := d.restored(t, []int{pid}, []int{0}, func(_ *Rebuild, stubs map[int]*remote.Stub) error {
				own := areaOf(stubs[pid])
				same(t, "the memory of process", before, paint(t, pid, own))
				if now := numaMaps(t, pid, own); !maps.Equal(now, policies) {
					t.Errorf("the policies are %v instead of %v", now, policies)
				}
				return checkNewLock(t, stubs[pid], test.lock)
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// checkNewLock maps a page in a restored process and looks how it is locked.
func checkNewLock(t *testing.T, stub *remote.Stub, want uint64) error {
	t.Helper()
	calls := []remote.Call{must("map a page", unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)}
	if err := stub.Run(calls); err != nil {
		return err
	}
	regions, err := readRegions(stub.PID())
	if err != nil {
		return err
	}
	at := span{uint64(calls[0].Ret), uint64(calls[0].Ret) + pageSize}
	if got := lockOfNew(regions, at); got != want {
		t.Errorf("a new mapping is locked as by mlockall(%d), want %d", got, want)
	}
	return nil
}

// numaMaps lists the mappings that have a memory policy of their own, as
// /proc/PID/numa_maps shows them: with another word than the [vdso], which has the
// thread's. without is left out.
func numaMaps(t *testing.T, pid int, without span) map[uint64]string {
	t.Helper()
	text, err := readProc(pid, "numa_maps")
	if err != nil {
		t.Fatal(err)
	}
	regions, err := readRegions(pid)
	if err != nil {
		t.Fatal(err)
	}
	var vdso uint64
	for _, r := range regions {
		if r.Path == "[vdso]" {
			vdso = r.Start
		}
	}
	policies := map[uint64]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		start, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if !without.overlaps(span{start, start + pageSize}) {
			policies[start] = fields[1]
		}
	}
	thread := policies[vdso]
	maps.DeleteFunc(policies, func(_ uint64, p string) bool { return p == thread })
	return policies
}

// sameSharing compares which pages the processes have in common.
func sameSharing(t *testing.T, pids []int, before, after map[int]*picture) {
	t.Helper()
	for i, a := range pids {
		for _, b := range pids[:i] {
			was, is := sharing(before[a], before[b]), sharing(after[a], after[b])
			common := 0
			for at, shared := range was {
				if shared {
					common++
				}
				if shared && !is[at] {
					t.Errorf("page %x of processes %d and %d was shared and is no longer", at, b, a)
				}
			}
			if common == 0 {
				t.Errorf("processes %d and %d had nothing in common", b, a)
			}
			for at := range maps.Keys(is) {
				if _, had := was[at]; !had {
					t.Errorf("page %x of processes %d and %d is new", at, b, a)
				}
			}
		}
	}
}

// TestDumpLeavesTheTreeAlone compares a tree before and after a dump.
func TestDumpLeavesTheTreeAlone(t *testing.T) {
	h := hold(t, 4, "family")
	before := paintAll(t, h.pids...)
	h.dump()
	after := paintAll(t, h.pids...)
	for _, pid := range h.pids {
		same(t, "the memory of process", before[pid], after[pid])
		if err := unix.Kill(pid, 0); err != nil {
			t.Error(err)
		}
	}
}

// TestWritten hands the checksums that Write computes to package image, which
// reads the files at Open.
func TestWritten(t *testing.T) {
	h := hold(t, 1, "shared bytes", strconv.Itoa(blockSize+5*pageSize))
	st, err := image.Stage(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	var size, planned int64
	err = h.collect(func(_ *criuimg.Set, p *Plan) error {
		planned = p.Bytes()
		err := p.Write(t.Context(), st.Dir())
		for _, w := range p.Written() {
			st.Vouch(w.Name, w.Size, w.Blocks)
			size += w.Size
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(); err != nil {
		t.Fatal(err)
	}
	im, err := image.Open(st.Path())
	if err != nil {
		t.Fatal(err)
	}
	if got := im.Manifest.Bytes(); got != size || got != planned || got <= blockSize {
		t.Errorf("%d bytes were written, %d planned, %d said to be written", got, planned, size)
	}
}
