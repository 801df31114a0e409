// SPDX-License-Identifier: Apache-2.0

package criuimg

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"google.golang.org/protobuf/proto"
)

// maxMessage bounds the size of one message: a file with holes can be as large
// as it likes and fill no disk, and its messages are read into memory whole. The
// largest real ones, of a process with a million mappings, have 60 MB.
const maxMessage = 128 << 20

// source reads one framed image file. It never allocates more than the file has
// bytes left.
type source struct {
	name  string
	r     *bufio.Reader
	size  int64 // Of the file.
	at    int64 // How much of it has been read.
	entry int   // Number of the message that was read last, from 0; -1: none yet.
	buf   []byte
}

// newSource returns a source at the beginning of a file.
func newSource(name string, r io.ReaderAt, size int64) *source {
	// A buffer larger than the file would be waste: there are many small ones.
	buffered := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), int(min(size, 64<<10)))
	return &source{name: name, r: buffered, size: size, entry: -1}
}

// wrong is an ErrDamaged at the message that was read last.
func (s *source) wrong(format string, args ...any) error {
	return damaged(s.name, s.entry, format, args...)
}

// left is how many bytes have not been read.
func (s *source) left() int64 { return s.size - s.at }

// fill reads exactly len(p) bytes.
func (s *source) fill(p []byte) error {
	n, err := io.ReadFull(s.r, p)
	s.at += int64(n)
	if err == nil {
		return nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return s.wrong("the file ends in the middle")
	}
	return &Error{File: s.name, Entry: s.entry, Err: err}
}

// word reads a number of four bytes.
func (s *source) word() (uint32, error) {
	var b [4]byte
	err := s.fill(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// magic reads the file's head.
func (s *source) magic(want uint32) error {
	head := []uint32{commonMagic, want}
	if want == inventoryMagic {
		head = head[1:]
	}
	for _, w := range head {
		got, err := s.word()
		if err != nil {
			return err
		}
		if got != w {
			return s.wrong("it begins with %#08x where an image of its name has %#08x", got, w)
		}
	}
	return nil
}

// next reads one message. It returns false at the end of the file.
func (s *source) next(m proto.Message) (bool, error) {
	if s.left() == 0 {
		return false, nil
	}
	s.entry++
	size, err := s.word()
	if err != nil {
		return false, err
	}
	if size > maxMessage {
		return false, s.wrong("it says it has %d bytes, more than any that CRIU writes", size)
	}
	if int64(size) > s.left() {
		return false, s.wrong("it says it has %d bytes, but only %d are left in the file", size, s.left())
	}
	if int(size) > len(s.buf) {
		s.buf = make([]byte, size)
	}
	if err := s.fill(s.buf[:size]); err != nil {
		return false, err
	}
	if err := proto.Unmarshal(s.buf[:size], m); err != nil {
		return false, s.wrong("%w", err)
	}
	return true, nil
}

// payload reads the raw bytes that follow a message.
func (s *source) payload(n uint64) ([]byte, error) {
	if err := s.enough(n); err != nil {
		return nil, err
	}
	p := make([]byte, n)
	return p, s.fill(p)
}

// skip goes over raw bytes and returns their offset in the file.
func (s *source) skip(n uint64) (int64, error) {
	if err := s.enough(n); err != nil {
		return 0, err
	}
	at := s.at
	for n > 0 {
		step, err := s.r.Discard(int(min(n, math.MaxInt32)))
		s.at += int64(step)
		n -= uint64(step)
		if err != nil {
			return 0, &Error{File: s.name, Entry: s.entry, Err: err}
		}
	}
	return at, nil
}

// enough checks that raw bytes can be there.
func (s *source) enough(n uint64) error {
	if n > uint64(s.left()) {
		return s.wrong("%d bytes should follow it, but only %d are left in the file", n, s.left())
	}
	return nil
}

// message is a pointer to T that is a protobuf message.
type message[T any] interface {
	*T
	proto.Message
}

// readAll reads all messages of a file.
func readAll[T any, M message[T]](s *source) ([]M, error) {
	var all []M
	for {
		m := M(new(T))
		more, err := s.next(m)
		if err != nil || !more {
			return all, err
		}
		if err := checkText(s, m); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
}

// readOne reads a file that holds exactly one message.
func readOne[T any, M message[T]](s *source) (M, error) {
	m, err := readFirst[T, M](s)
	if err == nil && s.left() > 0 {
		return nil, damaged(s.name, -1, "it holds more than the one entry that it should have")
	}
	return m, err
}

// readFirst reads the first message of a file, which must be there.
func readFirst[T any, M message[T]](s *source) (M, error) {
	m := M(new(T))
	more, err := s.next(m)
	if err != nil {
		return nil, err
	}
	if !more {
		return nil, damaged(s.name, -1, "it is empty")
	}
	return m, checkText(s, m)
}
