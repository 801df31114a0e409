// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
)

// stubAddress is where the stub's code is in this program.
func stubAddress() uintptr

// The places at which the stub's code is entered, see stub_amd64.s.
const (
	entryStep  = 0
	entryLeave = 2
	entryTable = 9
)

// jumpSize is the size of the jump that ends the code: the thread stands before
// it when its signal to itself stops it.
const jumpSize = 5

// maxCode is more than the code takes.
const maxCode = 1024

// stubCode is the code of the stub and the offset at which a thread that has
// gone through its table is stopped.
func stubCode() (code []byte, stop uint64, err error) {
	text := textAt(stubAddress(), maxCode)
	n := bytes.Index(text, bytes.Repeat([]byte{0xcd, 3}, 8))
	if n < entryTable+jumpSize || text[n-jumpSize] != 0xe9 {
		return nil, 0, errors.New("the stub's code was not assembled as expected; this is a fault in crtime")
	}
	return text[:n], uint64(n - jumpSize), nil
}
