// SPDX-License-Identifier: Apache-2.0

package clockstate_test

import (
	"pgregory.net/rapid"

	"github.com/crtime/crtime/clockstate"
)

const (
	minute = 60 * second
	day    = 86_400 * second
	year   = 365 * day
)

// simHost is a host with clocks that run as a kernel's do. Its instants are
// named by its own MONOTONIC.
type simHost struct {
	boot string
	// now is the instant from which the other clocks are counted.
	now clockstate.Nanos
	// raw, bootAhead and real are, at now, MONOTONIC_RAW, BOOTTIME - MONOTONIC
	// and REALTIME.
	raw, bootAhead, real clockstate.Nanos
	// rawPPM is how much faster RAW runs than MONOTONIC, -500 to 500.
	rawPPM clockstate.Nanos
	// edge, period and lag are as in Tick; delay is how late the tick comes.
	edge, period, lag, delay clockstate.Nanos
	wall                     clockstate.WallClock
}

// rawAt rounds down, as a real reading does.
func (h *simHost) rawAt(t clockstate.Nanos) clockstate.Nanos {
	// Split so that decades times a rate do not overflow.
	dt := t - h.now
	const million = 1_000_000
	slew := dt/million*h.rawPPM + floorDiv(dt%million*h.rawPPM, million)
	return h.raw + dt + slew
}

func (h *simHost) coarseAt(t clockstate.Nanos) clockstate.Nanos {
	last := h.edge + floorDiv(t-h.delay-h.edge, h.period)*h.period
	return last - h.lag
}

func floorDiv(a, b clockstate.Nanos) clockstate.Nanos {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// read returns what one look at the clocks sees if each is read at an instant
// of its own, no earlier than t and no later than t + width.
func (h *simHost) read(r *rapid.T, t, width clockstate.Nanos) clockstate.HostReading {
	at := func(clock string) clockstate.Nanos {
		return t + clockstate.Nanos(rapid.Int64Range(0, int64(width)).Draw(r, "skew of "+clock))
	}
	realtime := h.real + at("REALTIME") - h.now
	return clockstate.HostReading{
		Readings: clockstate.Readings{
			Monotonic:       at("MONOTONIC"),
			MonotonicRaw:    h.rawAt(at("MONOTONIC_RAW")),
			MonotonicCoarse: h.coarseAt(at("MONOTONIC_COARSE")),
			Boottime:        at("BOOTTIME") + h.bootAhead,
		},
		Realtime:  realtime,
		TAI:       realtime + clockstate.Nanos(h.wall.TAIOffset)*second,
		Width:     width,
		WallClock: h.wall,
		BootID:    h.boot,
	}
}

// tick returns what a caller may know of the tick: all, its period, or nothing.
// The coarsest tick is known at least by its period.
func (h *simHost) tick(r *rapid.T) clockstate.Tick {
	known := rapid.SampledFrom([]string{"all", "period", "nothing"}).Draw(r, "known of the tick")
	switch {
	case known == "all":
		return clockstate.Tick{Edge: h.edge, Period: h.period, Lag: h.lag}
	case known == "period" || h.period > 4*millisecond:
		return clockstate.Tick{Period: h.period}
	default:
		return clockstate.Tick{}
	}
}

func drawNanos(r *rapid.T, label string, low, high clockstate.Nanos) clockstate.Nanos {
	return clockstate.Nanos(rapid.Int64Range(int64(low), int64(high)).Draw(r, label))
}

// drawHost makes a host of any age up to decades.
func drawHost(r *rapid.T, name string) *simHost {
	h := &simHost{boot: name}
	age := rapid.SampledFrom([]clockstate.Nanos{second, minute, day, year, 50 * year}).Draw(r, "greatest age of "+name)
	// No host runs a program sooner, and below that COARSE would be negative.
	h.now = drawNanos(r, "age of "+name, 50*millisecond, age)
	h.raw = max(0, h.now+drawNanos(r, "RAW - MONOTONIC of "+name, -second, second))
	h.bootAhead = drawNanos(r, "suspended time of "+name, 0, age)
	h.real = drawNanos(r, "REALTIME of "+name, second, 100*year)
	h.rawPPM = drawNanos(r, "RAW rate of "+name, -500, 500)
	h.period = rapid.SampledFrom([]clockstate.Nanos{millisecond, 4 * millisecond, 10 * millisecond}).Draw(r, "tick of "+name)
	h.lag = drawNanos(r, "lag of "+name, 0, h.period-1)
	h.edge = h.now/2 + drawNanos(r, "edge of "+name, 1, h.period)
	h.delay = drawNanos(r, "tick delay of "+name, 0, min(clockstate.CoarseMargin, h.period))
	h.wall = clockstate.WallClock{
		Known:        rapid.Bool().Draw(r, "wall clock of "+name+" known"),
		Synchronised: rapid.Bool().Draw(r, "wall clock of "+name+" synchronised"),
		MaxError:     drawNanos(r, "wall clock error of "+name, 0, second),
		TAIOffset:    rapid.SampledFrom([]int32{0, 37}).Draw(r, "TAI offset of "+name),
	}
	return h
}

// drawState freezes a tree in up to three time namespaces on h, now.
func drawState(r *rapid.T, h *simHost) *clockstate.State {
	freeze := h.read(r, h.now, drawNanos(r, "width at the freeze", 0, 2000))
	freeze.Tick = h.tick(r)
	s := &clockstate.State{
		ToolVersion:  rapid.StringN(0, 20, 80).Draw(r, "tool version"),
		Host:         clockstate.Host{BootID: h.boot, Hostname: "source", KernelRelease: "6.18"},
		Freeze:       freeze,
		FreezeSource: rapid.SampledFrom([]clockstate.FreezeSource{clockstate.FreezeWatched, clockstate.FreezeConfirmed}).Draw(r, "freeze source"),
		FreezeWindow: drawNanos(r, "freeze window", 0, second),
		RootPID:      10,
	}
	count := rapid.IntRange(1, 3).Draw(r, "namespaces")
	for i := range count {
		ns := clockstate.Namespace{ID: uint64(i) + 1, Offsets: drawOffsets(r, freeze)}
		readings, err := freeze.Shift(ns.Offsets)
		if err != nil {
			r.Fatal(err)
		}
		s.Namespaces = append(s.Namespaces, ns)
		s.Processes = append(s.Processes, clockstate.Process{
			PID: int32(i) + 1, OuterPID: int32(i) + 10, ParentPID: 1, Threads: 1,
			Comm:      string(rapid.SliceOfN(rapid.Byte(), 0, 15).Draw(r, "comm")),
			Namespace: ns.ID, NamespaceForChildren: uint64(rapid.IntRange(1, count).Draw(r, "namespace for children")),
			Readings: readings,
		})
	}
	return s
}

// drawOffsets returns offsets that the kernel would have accepted.
func drawOffsets(r *rapid.T, h clockstate.HostReading) clockstate.Offsets {
	if rapid.Bool().Draw(r, "not shifted") {
		return clockstate.Offsets{}
	}
	reach := rapid.SampledFrom([]clockstate.Nanos{1, second, year, 60 * year}).Draw(r, "reach of the offsets")
	least := min(h.Monotonic, h.MonotonicRaw, h.MonotonicCoarse)
	return clockstate.Offsets{
		Monotonic: drawNanos(r, "MONOTONIC offset", -min(reach, least), min(reach, clockstate.MaxReading-h.Monotonic-second)),
		Boottime:  drawNanos(r, "BOOTTIME offset", -min(reach, h.Boottime), min(reach, clockstate.MaxReading-h.Boottime)),
	}
}
