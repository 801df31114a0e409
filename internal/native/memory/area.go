// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"

	"github.com/crtime/crtime/internal/native/criuimg"
)

const (
	// stackRoom is kept free below mappings that grow downward: the kernel's
	// default stack_guard_gap of 256 pages, and as much again.
	stackRoom = 512 * pageSize
	// vdsoRoom is kept free around the recorded vdso: another kernel's vdso
	// has more pages of data than the recorded one.
	vdsoRoom = 64 * pageSize

	// holeFrom is where the search for a hole begins, and holeLow where it goes
	// on after the end. Programs are put at the bottom of the address space or
	// at 0x55..., heaps of Go at 0xc0..., libraries and stacks at 0x7f...; a
	// hole in between collides with none of them and not with what exec maps.
	holeFrom = 0x1000_0000_0000
	holeLow  = 0x1000_0000
)

// ErrNoHole says that no range of addresses is free in every process.
var ErrNoHole = errors.New("no free range of addresses")

// Area finds a range of addresses of the given size, a multiple of the page
// size, that is free in every process of the set: the stubs live there while
// the processes are rebuilt. It is clear of stacks, which may grow, and of the
// places where vdsos will be.
func Area(s *criuimg.Set, size uint64) (uint64, error) {
	spaces, err := spacesOf(s)
	if err != nil {
		return 0, err
	}
	var all []span
	for _, sp := range spaces {
		all = append(all, sp.taken()...)
		if !sp.vdso.empty() {
			all = append(all, around(sp.vdso, vdsoRoom))
		}
	}
	addr, err := hole(joined(all), size)
	if err != nil {
		return 0, fmt.Errorf("a place for the restorer in all %d processes: %w", len(spaces), err)
	}
	return addr, nil
}

// around is a range with room on both sides.
func around(s span, room uint64) span {
	return span{s.start - min(s.start, room), min(s.end+room, taskSize)}
}

// hole finds size bytes that none of the ranges has; they are sorted and joined.
func hole(taken []span, size uint64) (uint64, error) {
	for _, bounds := range []span{{holeFrom, taskSize}, {holeLow, holeFrom}} {
		at := bounds.start
		for _, t := range taken {
			if t.end <= at {
				continue
			}
			if t.start >= at && t.start-at >= size {
				break
			}
			at = max(at, t.end)
		}
		if at < bounds.end && bounds.end-at >= size {
			return at, nil
		}
	}
	return 0, fmt.Errorf("%w of %d bytes", ErrNoHole, size)
}
