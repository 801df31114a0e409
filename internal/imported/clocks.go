// SPDX-License-Identifier: Apache-2.0

package imported

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
)

// ErrNoClocks says that CRIU has written no image of the clocks.
var ErrNoClocks = errors.New("there is no timens-*.img: CRIU ran on a kernel without time namespaces (before Linux 5.6), or with --unprivileged; restore with CRIU itself")

// clocks is what timens-N.img says.
type clocks struct {
	space   uint32 // Its number N: the tree's time namespace; 0: the one that CRIU was in.
	reading clockstate.HostReading
}

// readClocks finds the image of the clocks and reads it.
func readClocks(from Source) (*clocks, error) {
	found, err := from.Match("timens-*.img")
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, ErrNoClocks
	case len(found) > 1:
		return nil, fmt.Errorf("%s: %w: the tree was in more than one time namespace", from.Path(found[1]), engine.ErrUnsupported)
	}
	path := from.Path(found[0])
	number := strings.TrimSuffix(strings.TrimPrefix(found[0], "timens-"), ".img")
	space, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, damaged(path, "%q is not the number of a time namespace", number)
	}
	data, date, err := from.Read(found[0], maxFile)
	if err != nil {
		return nil, err
	}
	all, err := parse[timens.TimensEntry](path, data, timensMagic)
	if err != nil {
		return nil, err
	}
	e, err := only(path, all)
	if err != nil {
		return nil, err
	}
	c := &clocks{space: uint32(space)}
	monotonic, okMonotonic := nanos(e.GetMonotonic())
	boottime, okBoottime := nanos(e.GetBoottime())
	if !okMonotonic || !okBoottime {
		return nil, damaged(path, "no clock can read what it says")
	}
	c.reading.Readings = clockstate.Readings{
		Monotonic: monotonic,
		// The most that it can have read, since it never is ahead.
		MonotonicCoarse: monotonic,
		Boottime:        boottime,
	}
	c.reading.Realtime = wallClock(date)
	return c, nil
}

// nanos is a time of an image, and whether a clock can have read it.
func nanos(t *timens.Timespec) (clockstate.Nanos, bool) {
	const second = uint64(time.Second)
	sec, nsec := t.GetTvSec(), t.GetTvNsec()
	if sec >= math.MaxInt64/second || nsec >= second {
		return 0, false
	}
	n := clockstate.Nanos(sec*second + nsec)
	return n, n <= clockstate.MaxReading
}

// wallClock is what the wall clock read at the dump by the date of the image of the
// clocks, 0 if that cannot be. A date before Linux had time namespaces is what
// reproducible archives give to every file, or a clock that nobody had set.
func wallClock(date time.Time) clockstate.Nanos {
	first := time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	last := time.Unix(0, math.MaxInt64)
	if date.Before(first) || date.After(last) {
		return 0
	}
	return clockstate.Nanos(date.UnixNano())
}

// readWindow is how long after the freeze CRIU can have read the clocks: while it
// froze the tree, or had it frozen. 0: it left no statistics beside the images, which
// a restore can do without.
func readWindow(from Source) clockstate.Nanos {
	const micro = clockstate.Nanos(time.Microsecond)
	e, err := readOne[stats.StatsEntry](from, "stats-dump", statsMagic)
	if err != nil {
		return 0
	}
	d := e.GetDump()
	return (clockstate.Nanos(d.GetFreezingTime()) + clockstate.Nanos(d.GetFrozenTime())) * micro
}
