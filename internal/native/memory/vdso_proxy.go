// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/remote"
)

// proxyVDSO puts this kernel's vdso into a hole, and the recorded code, changed
// to lead there, where it was.
func (r *Rebuild) proxyVDSO(sp *space, in runner, recorded []byte) error {
	start, end := in.Area() // The stub's own.
	at, err := hole(joined(append(sp.taken(), span{start, end})), r.host.size)
	if err != nil {
		return err
	}
	code, err := r.host.lead(recorded, at+r.host.before)
	if err != nil {
		return fmt.Errorf("lead the recorded one to this kernel's: %w", err)
	}
	t := &table{}
	own, err := r.mapVDSO(t, at)
	if err != nil {
		return err
	}
	s := sp.vdso
	t.add(must("map "+s.String()+" for the recorded vdso", unix.SYS_MMAP,
		s.start, s.size(), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, uint64(1<<64-1), 0))
	if err := t.run(in); err != nil {
		return err
	}
	if err := own.check(sp.pid); err != nil {
		return err
	}
	r.built[sp.pid].vdso = own.at
	if err := in.Write(s.start, code); err != nil {
		return err
	}
	return in.Run([]remote.Call{protect(s, unix.PROT_READ|unix.PROT_EXEC)})
}

// lead changes recorded code so that each of its functions goes on in this
// kernel's vdso, which lies at an address, or in the kernel where that has no
// such function.
func (h *hostVDSO) lead(recorded []byte, at uint64) ([]byte, error) {
	theirs, err := symbolsOf(recorded)
	if err != nil {
		return nil, err
	}
	code := slices.Clone(recorded)
	var last, next uint64
	for _, name := range inOrder(theirs) {
		s := theirs[name]
		if s.offset == last && next > 0 { // Another name for the same function.
			continue
		}
		if s.offset < next {
			return nil, fmt.Errorf("function %s begins within the %d bytes that have to be changed before it", name, jumpSize)
		}
		patch := h.patch(name, at)
		if s.offset+uint64(len(patch)) > uint64(len(code)) {
			return nil, fmt.Errorf("function %s has no room for %d bytes", name, len(patch))
		}
		copy(code[s.offset:], patch)
		last, next = s.offset, s.offset+uint64(len(patch))
	}
	return code, nil
}

// patch is the code that takes the place of a function.
func (h *hostVDSO) patch(name string, at uint64) []byte {
	if own, have := h.symbols[name]; have {
		return jumpTo(at + own.offset)
	}
	if nr, have := systemCall(name); have {
		return callKernel(nr)
	}
	return notImplemented()
}

// inOrder gives the names of functions by their places, and by name those that
// are one function.
func inOrder(symbols map[string]symbol) []string {
	return slices.SortedFunc(maps.Keys(symbols), func(a, b string) int {
		return cmp.Or(cmp.Compare(symbols[a].offset, symbols[b].offset), cmp.Compare(a, b))
	})
}
