// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
	crtimev1 "github.com/crtime/crtime/proto/crtime/v1"
)

func encode(t testing.TB, s *clockstate.State) []byte {
	t.Helper()
	b, err := clockstate.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame puts a right frame around any message.
func frame(message []byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 0x54564319)
	out = binary.LittleEndian.AppendUint32(out, clockstate.Magic)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(message)))
	out = append(out, message...)
	sum := crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli))
	out = binary.LittleEndian.AppendUint32(out, 4)
	return binary.LittleEndian.AppendUint32(out, sum)
}

// message takes the frame off.
func message(image []byte) []byte { return image[12 : len(image)-8] }

func TestImageRoundTrip(t *testing.T) {
	s := tree(t, sourceHost())
	s.Freeze.Tick = clockstate.Tick{Edge: 5, Period: 4 * millisecond, Lag: 2}
	image := encode(t, s)
	if s.Format != (clockstate.Version{}) {
		t.Errorf("Encode changed its argument")
	}
	got, err := clockstate.Decode(image)
	if err != nil {
		t.Fatal(err)
	}
	s.Format = clockstate.CurrentFormat()
	if !reflect.DeepEqual(got, s) {
		t.Errorf("came back as %+v, want %+v", got, s)
	}
	if again := encode(t, got); !bytes.Equal(again, image) {
		t.Errorf("the same state gives other bytes the second time")
	}
}

func TestImageRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawState(r, drawHost(r, "source"))
		image, err := clockstate.Encode(s)
		if err != nil {
			r.Fatal(err)
		}
		got, err := clockstate.Decode(image)
		if err != nil {
			r.Fatal(err)
		}
		s.Format = clockstate.CurrentFormat()
		if !reflect.DeepEqual(got, s) {
			r.Fatalf("came back as %+v, want %+v", got, s)
		}
	})
}

func TestEncodeRefusesInvalid(t *testing.T) {
	s := tree(t, sourceHost())
	s.RootPID = 1
	if _, err := clockstate.Encode(s); !errors.Is(err, clockstate.ErrInvalid) {
		t.Errorf("Encode() = %v", err)
	}
}

// TestDecodeTruncated cuts an image everywhere.
func TestDecodeTruncated(t *testing.T) {
	image := encode(t, tree(t, sourceHost()))
	for n := range image {
		if _, err := clockstate.Decode(image[:n]); !errors.Is(err, clockstate.ErrTruncated) {
			t.Errorf("first %d of %d bytes: %v", n, len(image), err)
		}
	}
}

// TestDecodeAltered changes each bit of an image in turn.
func TestDecodeAltered(t *testing.T) {
	image := encode(t, tree(t, sourceHost()))
	for i := range image {
		for bit := range 8 {
			bad := slices.Clone(image)
			bad[i] ^= 1 << bit
			_, err := clockstate.Decode(bad)
			switch {
			case i < 8 && !errors.Is(err, clockstate.ErrMagic):
				t.Errorf("bit %d of byte %d in the magic number: %v", bit, i, err)
			case i >= 8 && i < 12 && !errors.Is(err, clockstate.ErrTruncated) && !errors.Is(err, clockstate.ErrAltered):
				t.Errorf("bit %d of byte %d in the size: %v", bit, i, err)
			case i >= 12 && !errors.Is(err, clockstate.ErrAltered):
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := encode(t, tree(t, sourceHost()))
	newer := func(extra []byte) []byte {
		b, err := proto.Marshal(&crtimev1.Header{Format: &crtimev1.Format{Major: 2, Minor: 3}})
		if err != nil {
			t.Fatal(err)
		}
		return frame(append(b, extra...))
	}
	// Field 3, a message in version 1, as a number.
	otherMeaning := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 7)
	manyProcesses := bytes.Repeat([]byte{9<<3 | 2, 0}, clockstate.MaxProcesses+1)
	wrongSource := withMessage(t, good, func(m *crtimev1.ClockState) { m.FreezeSource = 256 + 1 })

	for _, tc := range []struct {
		name  string
		image []byte
		err   error
		says  string
	}{
		{"text", []byte("hello, world"), clockstate.ErrMagic, "68 65 6c 6c"},
		{"another image of CRIU", append(slices.Clone(good[:4]), 0x13, 0x69, 0x11, 0x43), clockstate.ErrMagic, "should begin with"},
		{"something after the end", append(slices.Clone(good), 0), clockstate.ErrAltered, "bytes"},
		{"twice", append(slices.Clone(good), good...), clockstate.ErrAltered, "bytes"},
		{"absurd size", append(slices.Clone(good[:8]), 0xff, 0xff, 0xff, 0xff), clockstate.ErrAltered, "4294967295"},
		{"newer major", newer(nil), clockstate.ErrNewer, "format 2.3"},
		{"newer major with other fields", newer(otherMeaning), clockstate.ErrNewer, "format 2.3"},
		{"field of another type", frame(append(message(good), otherMeaning...)), nil, ""},
		{"no format", frame(nil), clockstate.ErrInvalid, "format 0.0"},
		{"not a message", frame([]byte{0xff}), clockstate.ErrAltered, "message"},
		{"message within a message is none", frame(append(message(good), 3<<3|2, 1, 0xff)), clockstate.ErrAltered, "message"},
		{"too many processes", frame(append(message(good), manyProcesses...)), clockstate.ErrInvalid, "65539 processes"},
		{"contradiction", withMessage(t, good, func(m *crtimev1.ClockState) { m.RootPid = 5 }), clockstate.ErrInvalid, "root process 5"},
		{"freeze source of a later minor", wrongSource, clockstate.ErrInvalid, "freeze source"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := clockstate.Decode(tc.image)
			if !errors.Is(err, tc.err) || (s == nil) != (err != nil) {
				t.Fatalf("Decode() = %v, %v, want %v", s, err, tc.err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Decode() = %q, which does not say %q", err, tc.says)
			}
		})
	}
}

// withMessage frames what change makes of the message in image.
func withMessage(t *testing.T, image []byte, change func(m *crtimev1.ClockState)) []byte {
	t.Helper()
	m := new(crtimev1.ClockState)
	if err := proto.Unmarshal(message(image), m); err != nil {
		t.Fatal(err)
	}
	change(m)
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return frame(b)
}

// TestDecodeAllocatesLittle gives Decode the entries that take least in an
// image and most in memory.
func TestDecodeAllocatesLittle(t *testing.T) {
	good := encode(t, tree(t, sourceHost()))
	image := frame(append(message(good), bytes.Repeat([]byte{9<<3 | 2, 0}, clockstate.MaxMessage/4)...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := clockstate.Decode(image); !errors.Is(err, clockstate.ErrInvalid) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("refusing an image of %d bytes took %d bytes of memory", len(image), n)
	}
}

// TestMagicIsOurs keeps the clock image from being taken for one of CRIU's.
func TestMagicIsOurs(t *testing.T) {
	known := magic.LoadMagic()
	if name, taken := known.ByValue[uint64(clockstate.Magic)]; taken {
		t.Errorf("the magic number is the one of CRIU's %s", name)
	}
	if got := known.ByName["IMG_COMMON"]; got != 0x54564319 {
		t.Errorf("CRIU's common magic number is %#x", got)
	}
}

// FuzzDecode checks that whatever Decode accepts can be written, and is then
// read as the same. The seeds are framed by the target, because no fuzzer
// guesses a checksum.
func FuzzDecode(f *testing.F) {
	good := encode(f, tree(f, sourceHost()))
	f.Add(message(good), true)
	f.Add(good, false)
	f.Add(good[:len(good)-1], false)
	f.Add([]byte{}, true)
	f.Add([]byte{0x0a, 2, 8, 2}, true)
	f.Fuzz(func(t *testing.T, b []byte, framed bool) {
		if framed {
			b = frame(b)
		}
		first, err := clockstate.Decode(b)
		if (first == nil) != (err != nil) {
			t.Fatalf("Decode() = %v, %v", first, err)
		}
		if err != nil {
			return
		}
		image := encode(t, first)
		second, err := clockstate.Decode(image)
		if err != nil {
			t.Fatalf("decoded, encoded and refused: %v", err)
		}
		// A newer minor is read, but what is written is of this version.
		first.Format = second.Format
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("decoded as %+v, encoded, decoded as %+v", first, second)
		}
	})
}
