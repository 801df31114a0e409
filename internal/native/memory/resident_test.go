// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/native/remote"
)

// TestResidentPagesComeBack checks that what a process had mapped of its files is mapped
// again before it runs.
func TestResidentPagesComeBack(t *testing.T) {
	h := hold(t, 1, "files")
	pid := h.pids[0]
	before, err := mappedPages(pid)
	if err != nil || len(before) < 10 {
		t.Fatalf("only %d pages of files are mapped (%v)", len(before), err)
	}
	d := h.dump()
	pids, parents := h.pids, h.parents
	h.end()
	err = d.restored(t, pids, parents, func(*Rebuild, map[int]*remote.Stub) error {
		after, err := mappedPages(pid)
		if err != nil {
			return err
		}
		for _, page := range before {
			if _, found := slices.BinarySearch(after, page); !found {
				t.Errorf("page %#x is not mapped", page)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mappedPages lists the pages of files that a process has mapped.
func mappedPages(pid int) ([]uint64, error) {
	regions, err := readRegions(pid)
	if err != nil {
		return nil, err
	}
	pm, err := maps.Open(pid)
	if err != nil {
		return nil, err
	}
	defer pm.Close()
	var pages []uint64
	for _, r := range regions {
		if r.Special() || r.Inode == 0 {
			continue
		}
		for m, err := range pm.Mapped(r.Start, r.End) {
			if err != nil {
				return nil, err
			}
			for at := m.Start; at < m.End; at += pageSize {
				pages = append(pages, at)
			}
		}
	}
	return pages, nil
}

// TestResidentRuns takes runs there and back.
func TestResidentRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		page := func(name string, least, most int) uint64 {
			return uint64(rapid.IntRange(least, most).Draw(t, name)) * pageSize
		}
		all := span{start: page("start", 1, 100)}
		all.end = all.start + page("size", 1, 200)
		var seen, runs []span
		for at := all.start; at < all.end; {
			r := span{start: at + page("skip", 0, 40)}
			r.end = r.start + page("length", 1, 40)
			if r.end > all.end {
				break
			}
			seen = append(seen, r)
			runs = widen(runs, r, all)
			at = r.end
		}
		e := &vma.VmaEntry{Start: proto.Uint64(all.start), End: proto.Uint64(all.end)}
		extra.SetBytes(e, fieldResident, encodeRuns(runs, all.start))
		got, err := residentRuns(e)
		if err != nil || !slices.Equal(got, runs) {
			t.Fatalf("%v became %v, %v", runs, got, err)
		}
		for _, s := range seen {
			if !slices.ContainsFunc(got, func(r span) bool { return r.start <= s.start && s.end <= r.end }) {
				t.Fatalf("%v is not within %v", s, got)
			}
		}
	})
}

func TestLimited(t *testing.T) {
	runs := []span{{0, 2 * pageSize}, {5 * pageSize, 9 * pageSize}}
	for _, test := range []struct {
		left, rest uint64
		want       []span
	}{
		{1, 0, []span{{0, pageSize}}},
		{2, 0, []span{{0, 2 * pageSize}}},
		{4, 0, []span{{0, 2 * pageSize}, {5 * pageSize, 7 * pageSize}}},
		{6, 0, runs},
		{7, 1, runs},
	} {
		got, rest := limited(slices.Clone(runs), test.left*pageSize)
		if !slices.Equal(got, test.want) || rest != test.rest*pageSize {
			t.Errorf("%d pages: got %v and %d bytes, want %v and %d pages", test.left, got, rest, test.want, test.rest)
		}
	}
}

func TestResidentRunsOutside(t *testing.T) {
	for _, counts := range [][]byte{{1}, {0, 5}, {5, 0}, {2, 1, 2, 1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}} {
		e := &vma.VmaEntry{Start: proto.Uint64(8 * pageSize), End: proto.Uint64(12 * pageSize)}
		extra.SetBytes(e, fieldResident, counts)
		if runs, err := residentRuns(e); !errors.Is(err, errResident) {
			t.Errorf("%v: got %v, %v", counts, runs, err)
		}
	}
}
