// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/crtime/crtime/internal/native/ptrace"
)

// Of struct rseq and struct rseq_cs in linux/rseq.h.
const (
	rseqSequence  = 8 // Where struct rseq holds the address of its rseq_cs.
	rseqCSSize    = 32
	rseqStart     = 8
	rseqLength    = 16
	rseqAbortAddr = 24
)

// rseqAbort says whether pc is inside the thread's current restartable
// sequence, and where the sequence's abort handler is.
func rseqAbort(th *ptrace.Thread, pc uint64) (abort uint64, inside bool, err error) {
	conf, err := th.RSeq()
	if errors.Is(err, ptrace.ErrUnsupported) {
		return 0, false, nil
	}
	if err != nil || conf.Pointer == 0 {
		return 0, false, err
	}
	var word [8]byte
	if err := readMemory(th.TID, conf.Pointer+rseqSequence, word[:]); err != nil {
		return 0, false, fmt.Errorf("rseq registration: %w", err)
	}
	at := binary.LittleEndian.Uint64(word[:])
	if at == 0 {
		return 0, false, nil
	}
	var cs [rseqCSSize]byte
	if err := readMemory(th.TID, at, cs[:]); err != nil {
		return 0, false, fmt.Errorf("restartable sequence: %w", err)
	}
	start := binary.LittleEndian.Uint64(cs[rseqStart:])
	length := binary.LittleEndian.Uint64(cs[rseqLength:])
	return binary.LittleEndian.Uint64(cs[rseqAbortAddr:]), pc-start < length, nil
}
