// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/native/remote"
)

// Pages of mapped files need not be saved: the files have them. But a program that is
// restored without them takes a page fault at nearly every of its first steps, and waits
// for the disk if the file is not in memory, while its clocks run. So a dump records
// which of them were mapped, and a restore maps those before the clocks go on.

const (
	// faultAround is how much of a file the kernel maps at a fault, unless it was told
	// otherwise, aligned by its size (mm/memory.c, fault_around_bytes).
	faultAround = 64 << 10
	// mostResident limits what is mapped beforehand in a process. The rest comes in as
	// it is touched.
	mostResident = 64 << 20
)

// addResident records which pages of mapped files a process has mapped.
func addResident(pm *maps.Pagemap, p *criuimg.Process) error {
	left := uint64(mostResident)
	for _, e := range p.MM.Vmas {
		if left == 0 {
			return nil // The process stands still: nothing is looked for in vain.
		}
		if !mapsFile(e) || e.GetProt()&unix.PROT_READ == 0 {
			continue
		}
		var runs []span
		for r, err := range pm.Mapped(e.GetStart(), e.GetEnd()) {
			if err != nil {
				return fmt.Errorf("the pages of mapping %s: %w", spanOf(e), err)
			}
			runs = widen(runs, span{r.Start, r.End}, spanOf(e))
		}
		if runs, left = limited(runs, left); len(runs) > 0 {
			extra.SetBytes(e, fieldResident, encodeRuns(runs, e.GetStart()))
		}
	}
	return nil
}

// widen appends a run as large as a fault in it would have made it, or lets it continue
// the last one.
func widen(runs []span, r, all span) []span {
	r = span{max(r.start&^(faultAround-1), all.start), min((r.end+faultAround-1)&^(faultAround-1), all.end)}
	if n := len(runs); n > 0 && r.start <= runs[n-1].end {
		runs[n-1].end = max(runs[n-1].end, r.end)
		return runs
	}
	return append(runs, r)
}

// limited is the beginning of runs that has at most so many bytes, and how many are left.
func limited(runs []span, left uint64) ([]span, uint64) {
	for i := range runs {
		if size := runs[i].size(); size < left {
			left -= size
			continue
		}
		runs[i].end = runs[i].start + left
		return runs[:i+1], 0
	}
	return runs, left
}

// encodeRuns lists how many pages are passed over and how many follow, by turns, in the
// form of a packed field of protobuf.
func encodeRuns(runs []span, start uint64) []byte {
	var b []byte
	for _, r := range runs {
		b = protowire.AppendVarint(b, (r.start-start)/pageSize)
		b = protowire.AppendVarint(b, r.size()/pageSize)
		start = r.end
	}
	return b
}

var errResident = errors.New("what is recorded of its pages in memory is not within it")

// residentRuns are the runs of a mapping; the error says that they are not within it.
func residentRuns(e *vma.VmaEntry) ([]span, error) {
	counts := extra.All(e, fieldResident)
	if len(counts)%2 != 0 {
		return nil, errResident
	}
	at, end := e.GetStart(), e.GetEnd()
	var runs []span
	for ; len(counts) > 0; counts = counts[2:] {
		skip, size := counts[0], counts[1]
		if room := (end - at) / pageSize; skip > room || size > room-skip {
			return nil, errResident
		}
		at += skip * pageSize
		runs = append(runs, span{at, at + size*pageSize})
		at += size * pageSize
	}
	return runs, nil
}

// residentCalls map the pages of a file that were mapped. They are there sooner or later
// anyway: it is nothing to fail for.
func residentCalls(e *vma.VmaEntry) []remote.Call {
	runs, err := residentRuns(e)
	if err != nil {
		return nil // Check has refused them.
	}
	var calls []remote.Call
	for _, r := range runs {
		c := must("map what was mapped of "+r.String(), unix.SYS_MADVISE, r.start, r.size(), unix.MADV_POPULATE_READ)
		c.Must = false
		calls = append(calls, c)
	}
	return calls
}

// ClockCalls map the data from which the process reads its clocks. They are to be made in
// it when it is in its time namespace: whoever enters one begins without them.
func (r *Rebuild) ClockCalls(pid int) []remote.Call {
	b := r.built[pid]
	if b == nil || b.vdso == 0 {
		return nil
	}
	var calls []remote.Call
	for _, before := range r.host.data {
		calls = append(calls, readWord(b.vdso-before))
	}
	return calls
}

// readWord has the kernel read a word, and do nothing else: it wakes nobody. Where there
// is no memory it is EFAULT. madvise and process_vm_readv do not work on clock data.
func readWord(at uint64) remote.Call {
	const futexCmpRequeuePrivate = 4 | 128 // FUTEX_CMP_REQUEUE|FUTEX_PRIVATE_FLAG of linux/futex.h.
	return remote.Call{
		Name: fmt.Sprintf("read the clock data at %x", at), Nr: unix.SYS_FUTEX,
		Args: [6]uint64{at, futexCmpRequeuePrivate, 0, 0, at, 0},
	}
}
