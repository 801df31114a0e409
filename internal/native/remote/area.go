// SPDX-License-Identifier: Apache-2.0

package remote

import "fmt"

// AreaSize is how much address space the area takes, in a live target and in a
// stub.
const AreaSize = 128 << 10

// The area: the code in a page of its own, all else readable and writable. In a
// live target that was left by its tracer a handler may run on the stack below
// a frame, hence the order: it would spoil scratch memory that nobody needs any
// more.
const (
	pageSize = 4096

	codeOffset  = 0
	codeSize    = pageSize
	tableOffset = codeOffset + codeSize
	tableSize   = 24 << 10

	scratchOffset = tableOffset + tableSize
	scratchSize   = frameOffset - scratchOffset

	// A signal frame with the extended state of today's largest processors (AMX)
	// takes 12 KiB. One is for the leader, one for whatever other thread is used.
	frameSize         = 14 << 10
	frameOffset       = AreaSize - 2*frameSize
	leaderFrameOffset = frameOffset + frameSize
)

// scratchAlign is what Alloc aligns to: nothing that a system call is given
// needs more.
const scratchAlign = 16

// FullError says that the scratch memory of a target is used up.
type FullError struct {
	PID  int
	Want int // Bytes asked for.
	Free int // Bytes left.
}

func (e *FullError) Error() string {
	return fmt.Sprintf("process %d: %d bytes of scratch memory asked for and %d left: use smaller batches and Reset between them", e.PID, e.Want, e.Free)
}

// Alloc gives n bytes of memory in the target, aligned to 16 bytes and of
// undefined contents, until Reset. The error is a *FullError.
func (r *Runner) Alloc(n int) (uint64, error) {
	if n < 0 || n > scratchSize-r.used {
		return 0, &FullError{PID: r.PID(), Want: n, Free: scratchSize - r.used}
	}
	addr := r.area + scratchOffset + uint64(r.used)
	r.used = min(scratchSize, (r.used+n+scratchAlign-1)&^(scratchAlign-1))
	return addr, nil
}

// Reset takes back everything that Alloc gave.
func (r *Runner) Reset() { r.used = 0 }

// Area is the range of addresses that the runner occupies in the target. It is
// not the target's own memory.
func (r *Runner) Area() (start, end uint64) { return r.area, r.area + AreaSize }
