// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The vdso is code of the kernel in every process, with which clocks are read
// without a system call, and vvar the data that it reads. Both belong to the
// running kernel: a recorded vdso would read data that are not there any more.
// A program keeps addresses of the vdso's functions, so this kernel's vdso is
// put where the recorded one was if its functions are at the same places.
// Otherwise it is put elsewhere, and the recorded code is kept as ordinary
// memory whose functions jump to this kernel's.

// hostVDSO is the running kernel's vdso.
type hostVDSO struct {
	code    []byte
	symbols map[string]symbol
	before  uint64 // How far the vdso begins behind the first page of vvar.
	size    uint64 // Of everything from the first to the last page.
	// data are the pages of vvar that there are on this machine, by how far they begin
	// before the vdso.
	data []uint64
}

// errNoVDSO says that the kernel gives processes no vdso.
var errNoVDSO = errors.New("this kernel gives processes no vdso (was it started with vdso=0?)")

// readHostVDSO looks at crtime's own process. Every process of this kernel gets
// the same. It is nil where the kernel has none.
func readHostVDSO() (*hostVDSO, error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("read crtime's own mappings: %w", err)
	}
	vdso, all, err := findVDSO(text)
	if err != nil || vdso.empty() {
		return nil, err
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, fmt.Errorf("read crtime's own vdso: %w", err)
	}
	defer mem.Close()
	h := &hostVDSO{code: make([]byte, vdso.size()), before: vdso.start - all.start, size: all.size()}
	if _, err := mem.ReadAt(h.code, int64(vdso.start)); err != nil {
		return nil, fmt.Errorf("read crtime's own vdso: %w", err)
	}
	if h.symbols, err = symbolsOf(h.code); err != nil {
		return nil, fmt.Errorf("this kernel's vdso: %w", err)
	}
	for at := all.start; at < vdso.start; at += pageSize {
		c := readWord(at)
		if _, _, errno := unix.Syscall6(c.Nr, uintptr(c.Args[0]), uintptr(c.Args[1]), 0, 0, uintptr(c.Args[4]), 0); errno != unix.EFAULT {
			h.data = append(h.data, vdso.start-at)
		}
	}
	return h, nil
}

// findVDSO finds the vdso in the text of /proc/PID/maps, and the range that it
// and its data have together. Both are empty if there is none.
func findVDSO(maps []byte) (vdso, all span, err error) {
	for line := range bytes.Lines(maps) {
		fields := strings.Fields(string(line))
		if len(fields) != 6 {
			continue
		}
		name := fields[5]
		if name != "[vdso]" && !strings.HasPrefix(name, "[vvar") {
			continue
		}
		var s span
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &s.start, &s.end); err != nil || s.empty() {
			return span{}, span{}, fmt.Errorf("mapping %q is not as proc(5) describes it", line)
		}
		if name == "[vdso]" {
			vdso = s
		}
		if all.empty() {
			all = s
		}
		all = span{min(all.start, s.start), max(all.end, s.end)}
	}
	return vdso, all, nil
}

// placeVDSO gives a process this kernel's vdso, if it had one, by a call that it
// adds to the table. Where other code has to take its place, it makes all calls of
// the table first.
func (r *Rebuild) placeVDSO(sp *space, t *table, in runner) (placed, error) {
	if sp.vdso.empty() {
		return placed{}, nil
	}
	if r.host == nil {
		return placed{}, errNoVDSO
	}
	recorded, err := r.recordedVDSO(sp)
	if err != nil {
		return placed{}, err
	}
	at := sp.vdso.start - min(sp.vdso.start, r.host.before)
	if !r.host.sameAs(recorded) || !sp.free(span{at, at + r.host.size}) {
		if err := t.run(in); err != nil {
			return placed{}, err
		}
		return placed{}, r.proxyVDSO(sp, in, recorded)
	}
	return r.mapVDSO(t, at)
}

// placed is where the kernel's vdso is to be once a call is made; zero: there is no
// such call.
type placed struct{ at uint64 }

// check looks whether it is there. The kernel takes an address for a hint, and does
// not tell which one it has chosen; nothing else of the process is there.
func (p placed) check(pid int) error {
	if p.at == 0 {
		return nil
	}
	var head [4]byte
	local := []unix.Iovec{{Base: &head[0], Len: uint64(len(head))}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(p.at), Len: len(head)}}, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return died(err)
	case err != nil || string(head[:]) != elf.ELFMAG:
		return fmt.Errorf("the kernel did not map it at %x, although nothing is there", p.at)
	default:
		return nil
	}
}

// free says whether a range is clear of all mappings but the kernel's own.
func (sp *space) free(s span) bool {
	for _, e := range sp.areas {
		if spanOf(e).overlaps(s) {
			return false
		}
	}
	return s.end <= taskSize
}

// recordedVDSO reads the recorded code from the pages image.
func (r *Rebuild) recordedVDSO(sp *space) ([]byte, error) {
	parts := within(sp.runs, sp.vdso)
	if len(parts) != 1 || parts[0].size != sp.vdso.size() || parts[0].size > maxVDSO {
		return nil, fmt.Errorf("its code at %s is not in the images: %w", sp.vdso, ErrImages)
	}
	p, err := r.pagesFor(sp)
	if err != nil {
		return nil, err
	}
	code := make([]byte, parts[0].size)
	return code, p.read(code, parts[0].off)
}

// maxVDSO is the largest vdso that is believed; today's have two pages.
const maxVDSO = 1 << 20

// sameAs says whether a recorded vdso can be replaced by this kernel's: the same
// code, or at least the same functions at the same places.
func (h *hostVDSO) sameAs(code []byte) bool {
	if bytes.Equal(h.code, code) {
		return true
	}
	theirs, err := symbolsOf(code)
	if err != nil || len(code) != len(h.code) || len(theirs) != len(h.symbols) {
		return false
	}
	for name, s := range theirs {
		if own, have := h.symbols[name]; !have || own.offset != s.offset {
			return false
		}
	}
	return true
}
