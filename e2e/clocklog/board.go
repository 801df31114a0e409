// SPDX-License-Identifier: Apache-2.0

package clocklog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The layout of the ticker's struct board: every field is eight bytes,
// little-endian (the machines that crtime runs on are).
const (
	boardMagic = 0x4452414f42545243 // "CRTBOARD".
	resetAt    = 8
	// A turn of the loop holds each clock, and REALTIME once more at its end.
	turnWords  = clockCount + 1
	boardWords = 3 + 5*turnWords

	// BoardSize is the size of a board in bytes.
	BoardSize = 8 * boardWords
)

// ErrNotReady says that the ticker has not yet begun its loop.
var ErrNotReady = errors.New("the ticker has not begun to spin")

// Board is what a spinning ticker saw.
type Board struct {
	// Resetting is set from ResetBoard until the ticker has seen it.
	Resetting bool
	// Loops counts the turns of the loop, of about 0.2 us each.
	Loops uint64
	// Last is the newest reading of each clock, in nanoseconds.
	Last [clockCount]int64
	// LeastStep is the least step of each clock since the program began. One
	// below 0 went backward.
	LeastStep [clockCount]time.Duration
	// Widest is the widest step of each clock since the reset.
	Widest [clockCount]time.Duration
	// Outage is the widest step of the wall clock since the reset. It is taken
	// over two turns, because the freeze may cut one.
	Outage Step
}

// ParseBoard reads a board. The error is ErrNotReady until the loop runs.
func ParseBoard(data []byte) (Board, error) {
	if len(data) != BoardSize {
		return Board{}, fmt.Errorf("a board has %d bytes, not %d: %w", BoardSize, len(data), ErrNotReady)
	}
	word := func(i int) int64 { return int64(binary.LittleEndian.Uint64(data[8*i:])) }
	if word(0) != boardMagic {
		return Board{}, ErrNotReady
	}
	b := Board{Resetting: word(1) != 0, Loops: uint64(word(2))}
	const last, least, widest, before, after = 3, 3 + turnWords, 3 + 2*turnWords, 3 + 3*turnWords, 3 + 4*turnWords
	for c := range clockCount {
		b.Last[c] = word(last + c)
		b.LeastStep[c] = time.Duration(word(least + c))
		b.Widest[c] = time.Duration(word(widest + c))
		b.Outage.Before.At[c] = word(before + c)
		b.Outage.After.At[c] = word(after + c)
		b.Outage.Before.Known[c], b.Outage.After.Known[c] = true, true
	}
	b.Outage.Before.RealtimeEnd = word(before + clockCount)
	b.Outage.After.RealtimeEnd = word(after + clockCount)
	return b, nil
}

// Backward returns each shifted clock that ever went back.
func (b Board) Backward() []Backward {
	var found []Backward
	for _, c := range Shifted() {
		if b.LeastStep[c] < 0 {
			found = append(found, Backward{Clock: c, Seq: int64(b.Loops), By: -b.LeastStep[c]})
		}
	}
	return found
}

// ResetBoard returns the place in the board's file, and the bytes to write
// there, that make the ticker forget its widest steps.
func ResetBoard() (offset int64, data []byte) {
	return resetAt, []byte{1, 0, 0, 0, 0, 0, 0, 0}
}
