// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"testing"

	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/native/ptrace"
)

// picture is all that can be seen of the memory of a process from outside, one
// line for each fact.
type picture struct {
	t     testing.TB
	pid   int
	lines []string
	pages map[uint64]maps.Page // Entries of the pages that are populated.
}

// paintAll makes the pictures of running processes, by number. It traces them
// meanwhile, and stops none: some kernels let nobody but the tracer's thread read
// memory that its owner itself may not read, see byTracer.
func paintAll(t testing.TB, pids ...int) map[int]*picture {
	t.Helper()
	all := map[int]*picture{}
	err := ptrace.Run(func(tr *ptrace.Tracer) error {
		for _, pid := range pids {
			if _, err := tr.Seize(pid); err != nil {
				return err
			}
			all[pid] = paint(t, pid, span{})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// paint makes the picture of a process, which the calling thread traces. without is
// left out.
func paint(t testing.TB, pid int, without span) *picture {
	t.Helper()
	p := &picture{t: t, pid: pid, pages: map[uint64]maps.Page{}}
	regions, err := readRegions(pid)
	if err != nil {
		t.Fatal(err)
	}
	regions = cutOut(regions, without)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	pm, err := maps.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()
	for _, r := range joinRegions(regions) {
		p.region(r)
		if !r.Special() {
			p.populated(pm, r)
		}
	}
	// Reading brings pages in, so it comes last.
	for _, r := range regions {
		if !strings.HasPrefix(r.Path, "[v") || r.Path == "[vdso]" {
			p.contents(mem, r)
		}
	}
	p.marks()
	return p
}

// joinRegions joins mappings that touch and differ in nothing: the kernel joins
// them or does not, as their history is.
func joinRegions(regions []region) []region {
	var out []region
	for _, r := range regions {
		if n := len(out); n > 0 && out[n-1].End == r.Start && look(out[n-1]) == look(r) && (!r.File() || out[n-1].Offset+out[n-1].Size() == r.Offset) {
			out[n-1].End = r.End
			continue
		}
		out = append(out, r)
	}
	return out
}

// flagsApart are those that tell how a mapping is used, not what it is.
const flagsApart = maps.FlagSoftDirty | maps.FlagMaybeGuard

// look is what makes mappings differ.
func look(r region) string {
	path := r.Path
	if r.ofSharedMemory() {
		path = strings.TrimSuffix(path, " (deleted)")
	}
	return fmt.Sprintf("%s %q %v %v access %#o", r.Perms, path, r.Deleted, r.Flags&^flagsApart, r.access)
}

func (p *picture) add(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *picture) region(r region) {
	offset := r.Offset
	if !r.File() {
		offset = 0
	}
	p.add("%x-%x %s offset %x", r.Start, r.End, look(r), offset)
}

// populated paints which pages there are. Below the first stack a dump may leave one
// with nothing in it: see package remote's shelter.
func (p *picture) populated(pm *maps.Pagemap, r region) {
	for g, err := range pm.Populated(r.Start, r.End) {
		if err != nil {
			p.t.Fatal(err)
		}
		if r.Path != "[stack]" {
			p.add("  populated %x-%x", g.Start, g.End)
		}
		entries := make([]maps.Page, g.Size()/pageSize)
		if _, err := pm.Pages(g.Start, entries); err != nil {
			p.t.Fatal(err)
		}
		for i, e := range entries {
			p.pages[g.Start+uint64(i)*pageSize] = e
		}
	}
	for g, err := range pm.Guards(r.Start, r.End) {
		if err != nil {
			p.t.Fatal(err)
		}
		p.add("  guards %x-%x", g.Start, g.End)
	}
}

// contents paints what is in the pages that are not zero. Memory with nothing in
// it is not read, for there may be a lot, and on some kernels it would come to be by
// that (see testkit.ReadsFillMemory).
func (p *picture) contents(mem *os.File, r region) {
	if r.Rss == 0 && r.Size() > 1<<30 {
		return
	}
	anonymous := r.Perms&maps.PermShared == 0 && !r.File() && !r.Special()
	page := make([]byte, pageSize)
	zero := string(make([]byte, pageSize))
	for at := r.Start; at < r.End; at += pageSize {
		if _, ok := p.pages[at]; anonymous && !ok {
			continue
		}
		if _, err := mem.ReadAt(page, int64(at)); err != nil {
			p.add("  %x cannot be read", at)
		} else if string(page) != zero {
			h := fnv.New64a()
			h.Write(page)
			p.add("  %x holds %x", at, h.Sum64())
		}
	}
}

// marks paints what the kernel knows of the layout.
func (p *picture) marks() {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := parseMarks(text)
	if err != nil {
		p.t.Fatal(err)
	}
	p.add("marks %v", m)
	for _, name := range []string{"auxv", "cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, name))
		if err != nil {
			p.t.Fatal(err)
		}
		p.add("%s %q", name, strings.TrimRight(string(text), "\x00"))
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	p.add("exe %s", exe)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "THP_enabled") || strings.HasPrefix(line, "VmLck") {
			p.add("%s", strings.TrimSpace(line))
		}
	}
}

// same compares two pictures.
func same(t testing.TB, what string, before, after *picture) {
	t.Helper()
	if d := difference(before.lines, after.lines); d != "" {
		t.Errorf("%s is not what it was:\n%s", what, d)
	}
}

// difference lists the lines that only one of two pictures has.
func difference(a, b []string) string {
	var out strings.Builder
	for _, one := range []struct {
		mark string
		a, b []string
	}{{"- ", a, b}, {"+ ", b, a}} {
		have := map[string]bool{}
		for _, line := range one.b {
			have[line] = true
		}
		for _, line := range one.a {
			if !have[line] {
				fmt.Fprintf(&out, "%s%s\n", one.mark, line)
			}
		}
	}
	return out.String()
}

// sharing lists, for each address that both pictures have, whether the two
// processes have the same page there.
func sharing(a, b *picture) map[uint64]bool {
	out := map[uint64]bool{}
	for at, e := range a.pages {
		if f, ok := b.pages[at]; ok {
			out[at] = e.PFN() == f.PFN() && e.PFN() != 0
		}
	}
	return out
}
