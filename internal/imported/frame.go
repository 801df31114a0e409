// SPDX-License-Identifier: Apache-2.0

package imported

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/image"
)

// The numbers that image files begin with, from CRIU's magic.h: one that says that
// another follows, and that. The inventory has its own alone.
const (
	commonMagic  uint32 = 0x54564319
	serviceMagic uint32 = 0x55105940

	inventoryMagic uint32 = 0x58313116
	pstreeMagic    uint32 = 0x50273030
	coreMagic      uint32 = 0x55053847
	idsMagic       uint32 = 0x54432030
	timensMagic    uint32 = 0x43114433
	statsMagic     uint32 = 0x57093306
)

// maxFile bounds the files that are read whole, in bytes. pstree.img of the largest
// possible tree has some megabytes, the others some kilobytes.
const maxFile = 64 << 20

// damaged is an image.ErrAltered of a file.
func damaged(path, format string, args ...any) error {
	return fmt.Errorf("%s: %w: "+format, append([]any{path, image.ErrAltered}, args...)...)
}

// message is a pointer to T that is a protobuf message.
type message[T any] interface {
	*T
	proto.Message
}

// readAll reads all messages of an image. A file that does not exist is an
// image.ErrMissing.
func readAll[T any, M message[T]](from Source, name string, magic uint32) ([]M, error) {
	data, _, err := from.Read(name, maxFile)
	if err != nil {
		return nil, err
	}
	return parse[T, M](from.Path(name), data, magic)
}

// parse takes an image apart. path names it in errors.
func parse[T any, M message[T]](path string, data []byte, magic uint32) ([]M, error) {
	messages, err := split(data, magic)
	if err != nil {
		return nil, damaged(path, "%w", err)
	}
	all := make([]M, len(messages))
	for i, m := range messages {
		all[i] = new(T)
		if err := proto.Unmarshal(m, all[i]); err != nil {
			return nil, damaged(path, "entry %d: %w", i, err)
		}
	}
	return all, nil
}

// readOne reads an image that holds one message.
func readOne[T any, M message[T]](from Source, name string, magic uint32) (M, error) {
	all, err := readAll[T, M](from, name, magic)
	if err != nil {
		return nil, err
	}
	return only(from.Path(name), all)
}

// only is the message of an image that is to hold one.
func only[M any](path string, all []M) (one M, err error) {
	if len(all) != 1 {
		return one, damaged(path, "it holds %d entries, and should hold one", len(all))
	}
	return all[0], nil
}

// split checks the head of an image and takes it apart: messages, each behind its size
// in four bytes, all little-endian. They share data's memory.
func split(data []byte, magic uint32) ([][]byte, error) {
	const word = 4
	head := binary.LittleEndian.AppendUint32(nil, commonMagic)
	switch magic {
	case inventoryMagic:
		head = nil
	case statsMagic:
		head = binary.LittleEndian.AppendUint32(nil, serviceMagic)
	}
	head = binary.LittleEndian.AppendUint32(head, magic)
	if len(data) < len(head) || string(data[:len(head)]) != string(head) {
		return nil, fmt.Errorf("it should begin with % x", head)
	}
	var messages [][]byte
	for rest := data[len(head):]; len(rest) > 0; {
		if len(rest) < word {
			return nil, errors.New("it ends in the middle")
		}
		size := uint64(binary.LittleEndian.Uint32(rest))
		if rest = rest[word:]; size > uint64(len(rest)) {
			return nil, errors.New("it ends in the middle")
		}
		messages, rest = append(messages, rest[:size]), rest[size:]
	}
	return messages, nil
}
