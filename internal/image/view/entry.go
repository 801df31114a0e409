// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"
)

// The magic numbers that begin a CRIU image when a second one, of its kind,
// follows. An image with another one (the inventory) has that alone.
const (
	commonMagic  = 0x54564319 // IMG_COMMON_MAGIC.
	serviceMagic = 0x55105940 // IMG_SERVICE_MAGIC.
)

// ErrEntry says that a file is not an image of one entry.
var ErrEntry = errors.New("not an image of one entry")

// ReadEntry reads the message of a CRIU image that holds one: magic numbers,
// the message's size, the message. It returns the magic numbers too.
func ReadEntry(path string, into proto.Message) (magic []byte, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	const word = 4
	head := word
	if len(data) >= word {
		if first := binary.LittleEndian.Uint32(data); first == commonMagic || first == serviceMagic {
			head = 2 * word
		}
	}
	if len(data) < head+word || uint64(binary.LittleEndian.Uint32(data[head:])) != uint64(len(data)-head-word) {
		return nil, fmt.Errorf("%s: %w", path, ErrEntry)
	}
	if err := proto.Unmarshal(data[head+word:], into); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data[:head], nil
}

// frame makes an image of one entry.
func frame(magic, message []byte) []byte {
	out := binary.LittleEndian.AppendUint32(slices.Clone(magic), uint32(len(message)))
	return append(out, message...)
}
