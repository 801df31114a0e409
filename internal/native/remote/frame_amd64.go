// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/crtime/crtime/internal/native/xsave"
)

// struct rt_sigframe of the kernel: the return address, struct ucontext and
// siginfo_t. Offsets are from the return address.
const (
	frameFlags     = 8   // uc_flags
	frameRegisters = 48  // uc_mcontext, after uc_link and uc_stack
	frameSegments  = 192 // cs, gs, fs, ss: two bytes each
	frameFPState   = 232 // uc_mcontext.fpstate
	frameMask      = 304 // uc_sigmask
	frameEnd       = 440
)

// uc_flags: the extended state is in XSAVE format, and ss is valid and to be
// restored as it is.
const frameFlagValues = 1 | 2 | 4

// The frame's extended state says in 48 bytes what it holds (struct
// _fpx_sw_bytes), where the processor leaves room, and ends with a magic word.
const (
	legacySoftware  = 464
	frameMagic1     = 0x46505853
	frameMagic2     = 0x46505845
	frameMagic2Size = 4
)

// The components of AMX: a thread that has not asked for them has no room for
// them.
const (
	tileConfig = 17
	tileData   = 18
)

// frameAlign is what the processor demands of the extended state.
const frameAlign = 64

// signalFrame lays out what rt_sigreturn needs to put a thread into state s. The
// bytes are to be written so that they end at end, and the frame proper is at
// the address frame: a thread that returns with SP there goes to trampoline, and
// one that calls rt_sigreturn does it with SP 8 bytes above.
//
// uc_stack is all zero, which the kernel refuses and ignores: the alternate
// signal stack stays as it is.
func signalFrame(end uint64, s State, trampoline uint64) (b []byte, frame uint64, err error) {
	ext, err := frameExtended(s.Extended)
	if err != nil {
		return nil, 0, err
	}
	fp := (end - uint64(len(ext))) &^ (frameAlign - 1)
	// As after a call instruction: 8 above a multiple of 16.
	frame = (fp-frameEnd)&^15 - 8
	b = make([]byte, end-frame)
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
	put(0, trampoline)
	put(frameFlags, frameFlagValues)
	r := s.Registers
	for i, v := range [...]uint64{
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15,
		r.Rdi, r.Rsi, r.Rbp, r.Rbx, r.Rdx, r.Rax, r.Rcx, r.Rsp, r.Rip, r.Eflags,
	} {
		put(frameRegisters+8*i, v)
	}
	put(frameSegments, r.Cs&0xffff|r.Ss<<48)
	put(frameFPState, fp)
	put(frameMask, s.Mask)
	copy(b[fp-frame:], ext)
	return b, frame, nil
}

// frameExtended turns what PTRACE_GETREGSET reads into what a signal frame
// holds: only the components that the thread can have, between two magics.
func frameExtended(regset []byte) ([]byte, error) {
	if len(regset) < xsave.HeaderEnd {
		return nil, fmt.Errorf("the extended registers take %d bytes, too few for XSAVE: this processor is not supported", len(regset))
	}
	features := binary.LittleEndian.Uint64(regset[legacySoftware:])
	inUse := binary.LittleEndian.Uint64(regset[xsave.LegacySize:])
	if inUse&(1<<tileData) == 0 {
		features &^= 1<<tileConfig | 1<<tileData
	}
	size := xsaveSize(features)
	if size > len(regset) {
		return nil, fmt.Errorf("the extended registers take %d bytes, but their components %#x need %d", len(regset), features, size)
	}
	b := make([]byte, size+frameMagic2Size)
	copy(b, regset[:size])
	software := b[legacySoftware:xsave.LegacySize]
	clear(software)
	binary.LittleEndian.PutUint32(software[0:], frameMagic1)
	binary.LittleEndian.PutUint32(software[4:], uint32(len(b)))
	binary.LittleEndian.PutUint64(software[8:], features)
	binary.LittleEndian.PutUint32(software[16:], uint32(size))
	binary.LittleEndian.PutUint32(b[size:], frameMagic2)
	return b, nil
}

// xsaveSize is how far the components reach in the standard XSAVE format.
func xsaveSize(features uint64) int {
	size := xsave.HeaderEnd
	for left := features >> 2; left != 0; left &= left - 1 {
		offset, length := xsave.Layout(uint(2 + bits.TrailingZeros64(left)))
		size = max(size, offset+length)
	}
	return size
}
