// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/binary"
	"fmt"
)

// header stands at the start of the table; the stub's code knows its fields by
// name.
//
//nolint:unused // Read by the assembler.
type header struct {
	count  uint64 // Calls that follow.
	signal uint64 // What the stub sends to its own thread at the end.
}

// entry is one call in the table; the stub's code knows its fields by name.
//
//nolint:unused // Read by the assembler.
type entry struct {
	nr   uint64
	args [6]uint64
	from [6]uint8
	must uint8
	done uint8
	ret  int64
}

// The sizes in the target, checked against the types by a test.
const (
	headerSize = 16
	entrySize  = 72
)

// tableCalls is how many calls one table holds. Longer batches are made in
// pieces.
const tableCalls = (tableSize - headerSize) / entrySize

// checkFrom refuses references that do not lead to an earlier call.
func checkFrom(calls []Call) error {
	for i := range calls {
		for arg, k := range calls[i].From {
			if int(k) > i {
				return fmt.Errorf("%s: argument %d is to be the result of call %d of the batch, but this is call %d already", calls[i].Name, arg+1, k, i+1)
			}
		}
	}
	return nil
}

// resolve gives the arguments of calls[i] as they are to be put into a table
// that starts with calls[first]: results of calls before that are known.
func resolve(calls []Call, i, first int) (args [6]uint64, from [6]uint8) {
	args = calls[i].Args
	for arg, k := range calls[i].From {
		switch {
		case k == 0:
		case int(k) <= first:
			args[arg] = uint64(calls[k-1].Ret)
		default:
			from[arg] = uint8(int(k) - first)
		}
	}
	return args, from
}

// encodeTable lays calls[first:last] out for the stub.
func encodeTable(calls []Call, first, last, signal int) []byte {
	b := make([]byte, headerSize+(last-first)*entrySize)
	binary.LittleEndian.PutUint64(b[0:], uint64(last-first))
	binary.LittleEndian.PutUint64(b[8:], uint64(signal))
	for i := first; i < last; i++ {
		e := b[headerSize+(i-first)*entrySize:]
		args, from := resolve(calls, i, first)
		binary.LittleEndian.PutUint64(e[0:], uint64(calls[i].Nr))
		for arg, v := range args {
			binary.LittleEndian.PutUint64(e[8+8*arg:], v)
		}
		copy(e[56:62], from[:])
		if calls[i].Must {
			e[62] = 1
		}
	}
	return b
}

// decodeTable takes the results out of a table that the stub has gone through.
func decodeTable(b []byte, calls []Call) {
	for i := range calls {
		e := b[headerSize+i*entrySize:]
		calls[i].Done = e[63] != 0
		calls[i].Ret = int64(binary.LittleEndian.Uint64(e[64:]))
	}
}
