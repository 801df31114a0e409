// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestFindHole has holes between any mappings be the largest there are.
func TestFindHole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []mapping
		low := uint64(lowestAddress)
		largest := uint64(0)
		for i := range rapid.IntRange(0, 20).Draw(t, "mappings") {
			gap := rapid.Uint64Range(0, 1<<20).Draw(t, fmt.Sprint("gap", i)) * pageSize
			size := rapid.Uint64Range(1, 1<<24).Draw(t, fmt.Sprint("size", i)) * pageSize
			all = append(all, mapping{start: low + gap, end: low + gap + size, perms: "r-xp"})
			largest = max(largest, gap)
			low += gap + size
		}
		if rapid.Bool().Draw(t, "full") {
			all = append(all, mapping{start: low, end: highestAddress, perms: "---p"})
		} else {
			largest = max(largest, highestAddress-low)
		}
		at, ok := findHole(all, AreaSize)
		if ok != (largest >= AreaSize+4*pageSize) {
			t.Fatalf("found: %v, and the largest hole has %d KiB", ok, largest>>10)
		}
		if !ok {
			return
		}
		if at%pageSize != 0 || at < lowestAddress || at+AreaSize > highestAddress {
			t.Fatalf("the hole is at %#x", at)
		}
		for _, m := range all {
			if m.start < at+AreaSize+pageSize && at < m.end+pageSize {
				t.Fatalf("the hole at %#x touches %#x-%#x", at, m.start, m.end)
			}
		}
	})
}

func FuzzParseMappings(f *testing.F) {
	own, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	f.Add("00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/a program (deleted)\n")
	f.Add("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseMappings([]byte(text))
		if err != nil {
			if all != nil {
				t.Error("mappings and an error")
			}
			return
		}
		for _, m := range all {
			if m.start >= m.end || len(m.perms) != 4 || strings.Contains(m.name, "\n") {
				t.Errorf("mapping %+v", m)
			}
		}
	})
}

func FuzzParseSignals(f *testing.F) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	f.Add("SigPnd:\t0000000000000001\nSigCgt:\tffffffffffffffff\nSeccomp:\t2\nx86_Thread_features:\tshstk wrss \n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSignals([]byte(text))
		if err != nil {
			if s != (signals{}) {
				t.Error("signals and an error")
			}
			return
		}
		// Whatever the process is like, what is chosen has no effect in it.
		for _, stopped := range []bool{false, true} {
			sig := s.harmless(stopped)
			if sig == 0 {
				continue
			}
			if (s.pending|s.blocked|s.caught&^s.ignored)&bit(sig) != 0 || sig == unix.SIGKILL || sig == unix.SIGSTOP || sig >= 32 {
				t.Errorf("%+v: chosen %s", s, unix.SignalName(sig))
			}
		}
	})
}

// TestSearch finds what is hidden in code, wherever it is.
func TestSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const base = 0x1000
		filler := func(name string) string {
			return strings.Repeat("\x90", rapid.IntRange(1, 100).Draw(t, name))
		}
		clear := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
			"\x31\xc0", "\x31\xd2", "\x31\xff", "\x45\x31\xdb", "\x48\x31\xf6",
		}), 0, 4).Draw(t, "cleared"), "")
		trampoline := rapid.SampledFrom([]string{"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", "\xb8\x0f\x00\x00\x00\x0f\x05"}).Draw(t, "trampoline")
		first := filler("first") + "\x0f\x05\x48\x83\xc4\x08\xc3" // Not a return at once.
		second := first + filler("second") + "\x0f\x05" + clear + "\xc3"
		third := second + filler("third")
		var g gadgets
		g.search(base, []byte(third+trampoline+filler("last")))
		want := gadgets{
			call:       base + uint64(strings.Index(first, "\x0f\x05")),
			callReturn: base + uint64(len(second)-len(clear)-3),
			trampoline: base + uint64(len(third)),
		}
		if g != want {
			t.Fatalf("found %#v, want %#v", g, want)
		}
	})
}
