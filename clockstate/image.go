// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	crtimev1 "github.com/crtime/crtime/proto/crtime/v1"
)

// FileName is the name of the clock image in an image directory.
const FileName = "crtime-clock.img"

// The framing is the one of CRIU's images, so that their readers can at least
// walk it: two magic numbers, then entries of a size and that many bytes, all
// little-endian. The first entry is the message and the second its checksum.
const (
	// commonMagic is what images of CRIU of the present framing begin with.
	commonMagic uint32 = 0x54564319
	// Magic is the second word of a clock image: "CRT1" in ASCII, read from
	// the most significant byte. No image of CRIU uses it.
	Magic uint32 = 0x43525431

	headSize    = 4 + 4 + 4
	trailerSize = 4 + 4
	crcSize     = 4

	// MaxMessage is the largest size of the message in an image, in bytes. A
	// state of MaxProcesses is below it.
	MaxMessage = 64 << 20
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Encode returns s as the contents of a clock image, in [CurrentFormat]
// whatever s.Format says. It fails if s is not valid. The bytes depend on s
// alone.
func Encode(s *State) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("encode the clock image: %w", err)
	}
	message, err := proto.MarshalOptions{Deterministic: true}.Marshal(toWire(s))
	if err != nil {
		return nil, fmt.Errorf("encode the clock image: %w", err)
	}
	if len(message) > MaxMessage {
		return nil, fmt.Errorf("encode the clock image: %w: it would have %d bytes, at most %d are possible", ErrInvalid, len(message), MaxMessage)
	}
	out := make([]byte, 0, headSize+len(message)+trailerSize)
	out = binary.LittleEndian.AppendUint32(out, commonMagic)
	out = binary.LittleEndian.AppendUint32(out, Magic)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(message))) //nolint:gosec // Bounded by MaxMessage.
	out = append(out, message...)
	sum := checksum(out)
	out = binary.LittleEndian.AppendUint32(out, crcSize)
	return binary.LittleEndian.AppendUint32(out, sum), nil
}

// Decode returns the state in a clock image, which is then valid. The error
// wraps [ErrMagic], [ErrTruncated], [ErrAltered] or [ErrNewer]; an image whose
// checksum is right and whose content is not gives Validate's errors. b is not
// kept.
func Decode(b []byte) (*State, error) {
	message, err := unframe(b)
	if err != nil {
		return nil, err
	}
	if err := checkFormat(message); err != nil {
		return nil, err
	}
	if err := checkCounts(message); err != nil {
		return nil, err
	}
	wire := new(crtimev1.ClockState)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(message, wire); err != nil {
		return nil, fmt.Errorf("%w: the checksum is right but the message is not: %w", ErrAltered, err)
	}
	s := fromWire(wire)
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("clock image: %w", err)
	}
	return s, nil
}

// unframe checks the framing and the checksum and returns the message.
func unframe(b []byte) ([]byte, error) {
	if err := checkMagic(b); err != nil {
		return nil, err
	}
	if len(b) < headSize {
		return nil, truncated(len(b), headSize+trailerSize)
	}
	size := uint64(binary.LittleEndian.Uint32(b[8:]))
	if size > MaxMessage {
		return nil, fmt.Errorf("%w: it claims a message of %d bytes, at most %d are possible", ErrAltered, size, MaxMessage)
	}
	want := headSize + int(size) + trailerSize
	if len(b) < want {
		return nil, truncated(len(b), want)
	}
	if len(b) > want {
		return nil, fmt.Errorf("%w: it has %d bytes and should have %d", ErrAltered, len(b), want)
	}
	body, trailer := b[:want-trailerSize], b[want-trailerSize:]
	if n := binary.LittleEndian.Uint32(trailer); n != crcSize {
		return nil, fmt.Errorf("%w: its checksum has %d bytes and should have %d", ErrAltered, n, crcSize)
	}
	if got, stored := checksum(body), binary.LittleEndian.Uint32(trailer[4:]); got != stored {
		return nil, fmt.Errorf("%w: its checksum is %08x and should be %08x: copy it again from where it came", ErrAltered, got, stored)
	}
	return body[headSize:], nil
}

// checkMagic accepts any beginning of the two magic numbers: a file that ends
// within them is truncated, not foreign.
func checkMagic(b []byte) error {
	var magic []byte
	magic = binary.LittleEndian.AppendUint32(magic, commonMagic)
	magic = binary.LittleEndian.AppendUint32(magic, Magic)
	n := min(len(b), len(magic))
	if string(b[:n]) != string(magic[:n]) {
		return fmt.Errorf("%w: it begins with % x and should begin with % x", ErrMagic, b[:n], magic)
	}
	return nil
}

func truncated(have, want int) error {
	return fmt.Errorf("%w: it has %d bytes and should have at least %d: copy it again from where it came", ErrTruncated, have, want)
}

// checkFormat decodes nothing but the version, because a newer one may have
// given any other field another meaning.
func checkFormat(message []byte) error {
	header := new(crtimev1.Header)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(message, header); err != nil {
		return fmt.Errorf("%w: the checksum is right but the message is not: %w", ErrAltered, err)
	}
	v := Version{Major: header.GetFormat().GetMajor(), Minor: header.GetFormat().GetMinor()}
	switch current := CurrentFormat(); {
	case v.Major > current.Major:
		return newerError(v)
	case v.Major != current.Major:
		return fmt.Errorf("%w: format %d.%d does not exist", ErrInvalid, v.Major, v.Minor)
	}
	return nil
}

// checkCounts bounds the number of entries before anything is allocated for
// them: an empty one takes 2 bytes in an image and 200 in memory.
func checkCounts(message []byte) error {
	fields := new(crtimev1.ClockState).ProtoReflect().Descriptor().Fields()
	processField, namespaceField := fields.ByName("processes").Number(), fields.ByName("namespaces").Number()
	var processes, namespaces int
	for len(message) > 0 {
		number, _, n := protowire.ConsumeField(message)
		if n < 0 {
			return fmt.Errorf("%w: the checksum is right but the message is not: %w", ErrAltered, protowire.ParseError(n))
		}
		message = message[n:]
		switch number {
		case processField:
			processes++
		case namespaceField:
			namespaces++
		}
	}
	if processes > MaxProcesses || namespaces > MaxNamespaces {
		return fmt.Errorf("clock image: %w: it has %d processes and %d time namespaces, at most %d and %d are possible",
			ErrInvalid, processes, namespaces, MaxProcesses, MaxNamespaces)
	}
	return nil
}
