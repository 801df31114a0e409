// SPDX-License-Identifier: Apache-2.0

package timens

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxFiles is the most descriptors that one message can carry (the kernel's
	// SCM_MAX_FD).
	maxFiles = 253
	// maxOps leaves room for two operations for each file, one for each signal
	// and the fixed ones.
	maxOps = 2*maxFiles + 64 + 32
	// stackSize is generous: the child's loop uses no stack at all.
	stackSize = 4096
	// controlSize holds a control message's header and maxFiles descriptors.
	controlSize = 16 + 4*maxFiles + 4
)

// op is one system call of the child. The assembly knows these fields by name.
type op struct {
	nr uintptr
	// args are the call's first five arguments; no call here needs six.
	args [5]uintptr
	// load, if not 0, is the address of an int32 that replaces args[0].
	load uintptr
	// least is the smallest result that counts as success.
	least int
	// ret is what the call returned: negative errno on failure.
	ret int
}

// ignoreResult as op.least lets the list go on whatever the call returned.
const ignoreResult = math.MinInt

// cloneArgs is the kernel's struct clone_args (version 2, with cgroup).
type cloneArgs struct {
	flags, pidFD, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTID, setTIDSize, cgroup                    uint64
}

// block is all the memory that a child touches. It is mapped shared, so that the
// parent sees what the child did also where the child does not share the
// parent's memory, and writes the rest of the list while the child waits.
type block struct {
	// failed is the address of the op that failed, 0 if none has. Only the child
	// writes it.
	failed uintptr
	args   cloneArgs
	// pidFD is written by the kernel.
	pidFD  int32
	setTID int32
	// mask is the signal mask that the new program starts with.
	mask uint64
	// noFile is the limit on open files that the new program starts with, as soft
	// and hard; only used if it is to be changed.
	noFile [2]uint64
	// defaultAction is an all-zero struct kernel_sigaction: SIG_DFL.
	defaultAction [4]uint64
	// word is what parent and child send each other: one byte of any value.
	word    [8]byte
	vector  unix.Iovec
	message unix.Msghdr
	control [controlSize]byte
	stack   [stackSize]byte
	ops     [maxOps]op
}

// memory is an area outside the Go heap, unmapped by free.
type memory struct{ bytes []byte }

// newMemory maps size bytes of zeros. Shared memory stays common to parent and
// child after a fork.
func newMemory(size int) (*memory, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for a new process: %w", size, err)
	}
	return &memory{bytes: b}, nil
}

// free unmaps the area. No live process may still use it through shared memory:
// call it after the child has execed or exited.
func (m *memory) free() {
	if m == nil || m.bytes == nil {
		return
	}
	// Unmapping what was mapped as one piece cannot fail.
	_ = unix.Munmap(m.bytes)
	m.bytes = nil
}

// base is the area's address, the same in parent and child.
func (m *memory) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m.bytes))) }

// newBlock maps a block.
func newBlock() (*block, *memory, error) {
	m, err := newMemory(int(unsafe.Sizeof(block{})))
	if err != nil {
		return nil, nil, err
	}
	return (*block)(unsafe.Pointer(unsafe.SliceData(m.bytes))), m, nil
}

// addr is the address of something inside a block, for the kernel. The block is
// not Go memory, so the number stays true.
func addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// prepareMessage makes b.message receive one byte and up to maxFiles descriptors.
func (b *block) prepareMessage() {
	b.vector.Base = &b.word[0]
	b.vector.SetLen(1)
	b.message.Iov = &b.vector
	b.message.SetIovlen(1)
	b.message.Control = &b.control[0]
	b.message.SetControllen(controlSize)
	// A descriptor that does not arrive (the limit on open files was reached)
	// must not read as 0, which would be a valid one.
	for i := range b.control {
		b.control[i] = 0xff
	}
}

// received is the address of the i-th descriptor that b.message brought.
func (b *block) received(i int) uintptr {
	return addr(&b.control[unix.CmsgLen(0)+4*i])
}

// failedOp returns the index of the operation that failed; false if none has.
func (b *block) failedOp() (int, bool) {
	if b.failed == 0 {
		return 0, false
	}
	i := (b.failed - addr(&b.ops[0])) / unsafe.Sizeof(op{})
	return int(i), i < maxOps
}

// putWord stores an address at a multiple of 8 bytes from the start.
func (m *memory) putWord(at int, word uintptr) {
	*(*uintptr)(unsafe.Pointer(&m.bytes[at])) = word
}
