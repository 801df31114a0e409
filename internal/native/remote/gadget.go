// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// gadgets are places in a process's own code.
type gadgets struct {
	call       uint64 // A system call instruction, whatever follows.
	callReturn uint64 // One that is followed by a return. 0: none found.
	trampoline uint64 // The code that calls rt_sigreturn. 0: none found.
}

// guarded says whether a call can be made so that the process comes right by
// itself if its tracer dies.
func (g *gadgets) guarded() bool { return g.callReturn != 0 && g.trampoline != 0 }

// The search reads this much at once and in all. What is looked for is near the
// front, or it is nowhere: a C library has both, and so has a static program.
const (
	searchPiece = 64 << 10
	searchLimit = 64 << 20
)

// findGadgets searches the code of a process. pc says where to begin: a thread
// in a system call stands in the C library, which has all there is to find.
func findGadgets(pid int, all []mapping, pc uint64) gadgets {
	s := search{pid: pid, left: searchLimit}
	for _, m := range codeByRank(all, pc) {
		if s.known(m) || s.mapping(m) {
			known.note(m, s.found)
			break
		}
	}
	return s.found
}

// gadgetsByFile remembers where in a file all gadgets were found, since the
// processes of a tree mostly run the same code. It says where to look, no more.
type gadgetsByFile struct {
	sync.Mutex
	offsets map[string]gadgets // From the begin of the mapping, by mapping.file and size.
}

// known is what crtime has found so far.
var known = gadgetsByFile{offsets: map[string]gadgets{}} //nolint:gochecknoglobals // A cache, and only of where to look.

// mostKnown bounds what is remembered.
const mostKnown = 128

// key is the same for mappings of the same part of a file.
func (*gadgetsByFile) key(m mapping) string { return fmt.Sprintf("%s %x", m.file, m.end-m.start) }

// note remembers gadgets that lie in one mapping.
func (k *gadgetsByFile) note(m mapping, g gadgets) {
	for _, at := range []uint64{g.call, g.callReturn, g.trampoline} {
		if at < m.start || at >= m.end {
			return
		}
	}
	k.Lock()
	defer k.Unlock()
	if len(k.offsets) >= mostKnown {
		clear(k.offsets)
	}
	k.offsets[k.key(m)] = gadgets{g.call - m.start, g.callReturn - m.start, g.trampoline - m.start}
}

// known looks where the gadgets of another mapping of the same file were.
func (s *search) known(m mapping) bool {
	known.Lock()
	offsets, ok := known.offsets[known.key(m)]
	known.Unlock()
	if !ok {
		return false
	}
	var found gadgets
	for _, offset := range []uint64{offsets.call, offsets.callReturn, offsets.trampoline} {
		at := m.start + offset
		piece := make([]byte, min(gadgetSize, m.end-at))
		if readMemory(s.pid, at, piece) != nil {
			return false
		}
		found.search(at, piece)
	}
	// Anything else that was found on the way would be as good, but is a sign that
	// the file has changed.
	if want := (gadgets{m.start + offsets.call, m.start + offsets.callReturn, m.start + offsets.trampoline}); found != want {
		return false
	}
	s.found = found
	return true
}

// gadgetSize is more than any gadget has.
const gadgetSize = 64

// codeByRank lists what can hold gadgets, the likeliest first.
func codeByRank(all []mapping, pc uint64) []mapping {
	var code []mapping
	for _, m := range all {
		if m.executable() && m.name != "[vsyscall]" {
			code = append(code, m)
		}
	}
	rank := func(m mapping) int {
		switch {
		case pc >= m.start && pc < m.end:
			return 0
		case strings.Contains(m.name, "libc"):
			return 1
		case strings.HasPrefix(m.name, "/"):
			return 2
		default:
			return 3
		}
	}
	slices.SortStableFunc(code, func(a, b mapping) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.end-a.start, b.end-b.start))
	})
	return code
}

// search is a search under way.
type search struct {
	pid   int
	left  uint64 // Bytes that may still be read.
	piece []byte // For mapping.
	found gadgets
}

// mapping searches one mapping and says whether nothing is missing any more.
func (s *search) mapping(m mapping) bool {
	// Pieces overlap by more than any pattern is long.
	const overlap = 64
	if s.piece == nil {
		s.piece = make([]byte, searchPiece)
	}
	for at := m.start; at < m.end && s.left > 0; at += searchPiece - overlap {
		piece := s.piece[:min(searchPiece, m.end-at)]
		s.left -= min(s.left, uint64(len(piece)))
		// Code behind the end of its file cannot be read, nor run.
		if readMemory(s.pid, at, piece) != nil {
			break
		}
		s.found.search(at, piece)
		if s.found.call != 0 && s.found.guarded() {
			return true
		}
	}
	return false
}
