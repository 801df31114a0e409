// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// RSeq is a thread's registration for restartable sequences, rseq(2). The zero
// value says that it has none.
type RSeq struct {
	Pointer   uint64 // Address of its struct rseq; 0: none.
	Size      uint32 // Of that struct, as registered.
	Signature uint32
	Flags     uint32
}

// rseqSize is the size of struct ptrace_rseq_configuration of linux/ptrace.h:
// pointer (8 bytes), size, signature, flags, padding (4 each).
const rseqSize = 24

// RSeq reads the registration of a stopped thread. The error is ErrUnsupported
// on a kernel that has restartable sequences and cannot tell of them (before
// Linux 5.13).
func (th *Thread) RSeq() (RSeq, error) {
	var b [rseqSize]byte
	err := th.data("read the rseq registration of", unix.PTRACE_GET_RSEQ_CONFIGURATION, rseqSize, b[:])
	switch {
	case errors.Is(err, unix.EIO) && !kernelHasRSeq():
		return RSeq{}, nil
	case errors.Is(err, unix.EIO):
		return RSeq{}, fmt.Errorf("%w: PTRACE_GET_RSEQ_CONFIGURATION needs Linux 5.13: %w", ErrUnsupported, err)
	case err != nil:
		return RSeq{}, err
	}
	return RSeq{
		Pointer:   binary.NativeEndian.Uint64(b[0:]),
		Size:      binary.NativeEndian.Uint32(b[8:]),
		Signature: binary.NativeEndian.Uint32(b[12:]),
		Flags:     binary.NativeEndian.Uint32(b[16:]),
	}, nil
}
