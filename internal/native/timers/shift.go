// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/timens"
)

// shift is what must be added to a reading of one of crtime's clocks to have
// that of a process: the difference of the offsets of their time namespaces. It
// is exact.
type shift clockstate.Offsets

// shifts finds the shifts of processes. It looks once at each time namespace.
type shifts struct {
	known map[uint64]shift // By the identity of the namespace.
}

// of finds the shift of a process.
func (s *shifts) of(pid int) (shift, error) {
	theirs, _, err := timens.IDOf(pid)
	if errors.Is(err, timens.ErrNotSupported) {
		return shift{}, nil
	}
	if err != nil {
		return shift{}, fmt.Errorf("its time namespace: %w", err)
	}
	if s.known == nil {
		own, _, err := timens.IDOf(0)
		if err != nil {
			return shift{}, fmt.Errorf("crtime's own time namespace: %w", err)
		}
		s.known = map[uint64]shift{own: {}}
	}
	if ahead, ok := s.known[theirs]; ok {
		return ahead, nil
	}
	ahead, err := readShift(pid)
	if err == nil {
		s.known[theirs] = ahead
	}
	return ahead, err
}

// readShift compares the offsets of two namespaces.
func readShift(pid int) (shift, error) {
	theirs, err := timens.OffsetsOf(pid)
	if err != nil {
		return shift{}, fmt.Errorf("the offsets of its clocks: %w", err)
	}
	own, err := timens.OffsetsOf(0)
	if err != nil {
		return shift{}, fmt.Errorf("the offsets of crtime's own clocks: %w", err)
	}
	return shift{
		Monotonic: theirs.Monotonic - own.Monotonic,
		Boottime:  theirs.Boottime - own.Boottime,
	}, nil
}

// of is the shift of a clock in nanoseconds.
func (s shift) of(clock int32) int64 {
	switch clock {
	case unix.CLOCK_MONOTONIC:
		return int64(s.Monotonic)
	case unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return int64(s.Boottime)
	default:
		return 0
	}
}

// taiAhead is how far TAI is ahead of REALTIME on this machine: whole seconds,
// and 0 if nobody has told the kernel.
func taiAhead() (int64, error) {
	realtime, err := now(unix.CLOCK_REALTIME)
	if err != nil {
		return 0, err
	}
	tai, err := now(unix.CLOCK_TAI)
	if err != nil {
		return 0, err
	}
	return int64(math.Round(float64(tai-realtime)/nanosPerSecond)) * nanosPerSecond, nil
}
