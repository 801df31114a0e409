// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// sink is an image file in the making. The first error stays.
type sink struct {
	buf []byte
	err error
}

// newSink returns a file of a kind with nothing but its head.
func newSink(k *kind) *sink {
	s := &sink{}
	if k != &kindInventory {
		s.buf = binary.LittleEndian.AppendUint32(s.buf, commonMagic)
	}
	s.buf = binary.LittleEndian.AppendUint32(s.buf, k.magic)
	return s
}

// put appends a message.
func (s *sink) put(m proto.Message) {
	if s.err != nil {
		return
	}
	at := len(s.buf)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf, s.err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(s.buf, m)
	binary.LittleEndian.PutUint32(s.buf[at:], uint32(len(s.buf)-at-4))
}

// raw appends the bytes that belong to the last message.
func (s *sink) raw(p []byte) { s.buf = append(s.buf, p...) }

// flush writes what there is so far, and begins anew behind it.
func (s *sink) flush(w io.Writer) error {
	if s.err != nil {
		return fmt.Errorf("encode: %w", s.err)
	}
	_, err := w.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}
