// SPDX-License-Identifier: Apache-2.0

package criu

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/crtime/crtime/internal/image/view"
)

// eachMessage calls do for every message of an image.
func eachMessage(path string, do func([]byte) error) error {
	const word, head = 4, 8
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) < head {
		return fmt.Errorf("%s: %w", path, view.ErrEntry)
	}
	for rest := data[head:]; len(rest) > 0; {
		if len(rest) < word || uint64(len(rest)-word) < uint64(binary.LittleEndian.Uint32(rest)) {
			return fmt.Errorf("%s: it ends in the middle", path)
		}
		size := word + int(binary.LittleEndian.Uint32(rest))
		if err := do(rest[word:size]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		rest = rest[size:]
	}
	return nil
}
