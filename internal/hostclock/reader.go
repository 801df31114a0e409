// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/timens"
)

const (
	// calibrations is how many samples NewReader takes to learn how narrow a
	// sample can be on this machine.
	calibrations = 16
	// attempts bounds the search for a sample nearly that narrow. A disturbance
	// (an interrupt, another task) rarely meets two in a row.
	attempts = 4
)

// Reader reads the host's clocks. It holds what does not change: this process's
// own offsets and the boot id. Make one by NewReader and keep it.
type Reader struct {
	own    clockstate.Offsets
	bootID string
	// tickPeriod is the resolution of MONOTONIC_COARSE.
	tickPeriod clockstate.Nanos
	// goodWidth ends the search for a narrower sample.
	goodWidth clockstate.Nanos
}

// NewReader looks up what Read needs: this process's own time namespace offsets
// and the boot id. On a kernel without time namespaces the offsets are zero.
//
// Errors: /proc is not mounted or not readable; or this process lives in another
// time namespace than its children will and lacks the privilege to find its own
// offsets (timens.ErrPrivilege).
func NewReader() (*Reader, error) {
	own, err := timens.OffsetsOf(0)
	if err != nil && !errors.Is(err, timens.ErrNotSupported) {
		return nil, fmt.Errorf("read the host's clocks: find this process's own clock offsets: %w", err)
	}
	id, err := bootID()
	if err != nil {
		return nil, err
	}
	var period unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &period); err != nil {
		return nil, fmt.Errorf("read the host's clocks: resolution of MONOTONIC_COARSE: %w", err)
	}
	r := &Reader{own: own, bootID: id, tickPeriod: clockstate.Nanos(period.Nano())}
	best, err := narrowest(calibrations, 0)
	if err != nil {
		return nil, err
	}
	r.goodWidth = best.width() * 5 / 4
	return r, nil
}

// Offsets returns this process's own time namespace offsets, which Read takes
// out.
func (r *Reader) Offsets() clockstate.Offsets { return r.own }

// Read reads all clocks of the host and the state of the wall clock. It opens no
// file and takes a few microseconds: seven reads in one or two, which is Width, and
// about as long to ask for the wall clock's state, after them.
//
// MONOTONIC is read first and last; Width is the difference, and the narrowest
// of a few attempts is returned. The value returned for MONOTONIC is the last
// one. All others were true at most Width before it, so a caller that computes
// what the others read at a later instant of MONOTONIC errs low, never high: the
// offsets that follow keep clocks from going backward. MONOTONIC_COARSE never
// exceeds MONOTONIC. Tick is zero; SampleTick finds it.
func (r *Reader) Read() (clockstate.HostReading, error) {
	best, err := narrowest(attempts, r.goodWidth)
	if err != nil {
		return clockstate.HostReading{}, err
	}
	return r.reading(&best)
}

// Glance is Read with one attempt, for a moment at which each microsecond counts. Its
// Width is what it happens to be.
func (r *Reader) Glance() (clockstate.HostReading, error) {
	var s sample
	if err := s.take(); err != nil {
		return clockstate.HostReading{}, err
	}
	return r.reading(&s)
}

// narrowest takes up to n samples, until one is as narrow as enough, and returns
// the narrowest.
func narrowest(n int, enough clockstate.Nanos) (sample, error) {
	var best sample
	for i := range n {
		var s sample
		if err := s.take(); err != nil {
			return sample{}, err
		}
		if i == 0 || s.width() < best.width() {
			best = s
		}
		if best.width() <= enough {
			break
		}
	}
	return best, nil
}

// sample is one attempt: the clocks as this process sees them.
type sample struct {
	first, raw, coarse, boot, real, tai, last unix.Timespec
}

// take reads the clocks. REALTIME and TAI come first: only their relation to
// BOOTTIME is ever used, and not for the promise.
func (s *sample) take() error {
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &s.first)
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_REALTIME, &s.real))
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_TAI, &s.tai))
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &s.coarse))
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &s.raw))
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_BOOTTIME, &s.boot))
	err = errors.Join(err, unix.ClockGettime(unix.CLOCK_MONOTONIC, &s.last))
	if err != nil {
		return fmt.Errorf("read the host's clocks: clock_gettime: %w", err)
	}
	return nil
}

// width is the time that the sample took.
func (s *sample) width() clockstate.Nanos {
	return clockstate.Nanos(s.last.Nano() - s.first.Nano())
}

// reading makes the host's values of a sample.
func (r *Reader) reading(s *sample) (clockstate.HostReading, error) {
	seen := clockstate.Readings{
		Monotonic:       clockstate.Nanos(s.last.Nano()),
		MonotonicRaw:    clockstate.Nanos(s.raw.Nano()),
		MonotonicCoarse: clockstate.Nanos(s.coarse.Nano()),
		Boottime:        clockstate.Nanos(s.boot.Nano()),
	}
	// Negating cannot overflow: the kernel's offsets use half of the range.
	host, err := seen.Shift(clockstate.Offsets{Monotonic: -r.own.Monotonic, Boottime: -r.own.Boottime})
	if err != nil {
		return clockstate.HostReading{}, fmt.Errorf("take this process's own clock offsets out: %w", err)
	}
	return clockstate.HostReading{
		Readings:  host,
		Realtime:  clockstate.Nanos(s.real.Nano()),
		TAI:       clockstate.Nanos(s.tai.Nano()),
		Width:     s.width(),
		WallClock: wallClock(),
		BootID:    r.bootID,
	}, nil
}
