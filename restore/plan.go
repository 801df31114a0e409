// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
)

// WallClock is what to do when the destination's wall clock is behind what it
// was at the freeze: REALTIME cannot be shifted, so a program would see it go
// backward.
type WallClock uint8

// What to do about a wall clock that is behind.
const (
	WallClockWarn WallClock = iota // Report it and go on.
	WallClockWait                  // Wait, within Options.WaitLimit, until it has caught up.
	WallClockFail                  // Refuse to restore.
)

// wallClockNames are the names in the order of the values.
func wallClockNames() []string { return []string{"warn", "wait", "fail"} }

// String returns the name as ParseWallClock reads it.
func (w WallClock) String() string {
	if names := wallClockNames(); int(w) < len(names) {
		return names[w]
	}
	return fmt.Sprintf("WallClock(%d)", uint8(w))
}

// ParseWallClock reads one of warn, wait and fail.
func ParseWallClock(name string) (WallClock, error) {
	for i, n := range wallClockNames() {
		if n == name {
			return WallClock(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no way to treat a wall clock that is behind: it is one of warn, wait, fail", name)
}

// ErrWallClock says that the wall clock is behind the dump's, and that the user
// did not want to restore then.
var ErrWallClock = errors.New("this host's wall clock is behind the dump's")

// defaultWait bounds the wait for a wall clock.
const defaultWait = time.Minute

// PlanOptions choose what the clocks shall read after the restore. The zero
// value means: as if the machine had been suspended, now.
type PlanOptions struct {
	Policy clockstate.Policy
	// Link is the measured offset between the two hosts, of a live migration.
	Link *clockstate.LinkMeasurement
}

// Plan works out what a restore of the images would do to the clocks if the tree
// resumed here and now. It looks for one tick of the clock, so it takes some
// milliseconds. Nothing is created.
func Plan(im *Images, o PlanOptions) (*clockstate.Plan, error) { return PlanState(im.State, o) }

// PlanState is Plan of clocks alone, wherever their images are.
func PlanState(s *clockstate.State, o PlanOptions) (*clockstate.Plan, error) {
	clocks, err := hostclock.NewReader()
	if err != nil {
		return nil, err
	}
	tick, err := clocks.SampleTick(context.Background())
	if err != nil {
		return nil, err
	}
	return planFrom(s, clocks, tick, clockstate.PlanOptions{Policy: o.Policy, Link: o.Link})
}

// planFrom reads the clocks and plans from there.
func planFrom(s *clockstate.State, clocks *hostclock.Reader, tick clockstate.Tick, o clockstate.PlanOptions) (*clockstate.Plan, error) {
	now, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	now.Tick = tick
	return clockstate.NewPlan(s, now, o)
}

// heedWallClock carries out the user's wish for a wall clock that is behind. It
// returns how long it waited.
func heedWallClock(ctx context.Context, im *Images, clocks *hostclock.Reader, o Options) error {
	if o.WallClock == WallClockWarn {
		return nil
	}
	now, err := clocks.Read()
	if err != nil {
		return err
	}
	behind := im.State.Freeze.Realtime - now.Realtime
	if behind <= 0 {
		return nil
	}
	if o.WallClock == WallClockFail {
		return fmt.Errorf("%w by %v: set it right, or restore with --wall-clock warn or wait", ErrWallClock, behind)
	}
	limit := o.WaitLimit
	if limit == 0 {
		limit = defaultWait
	}
	if time.Duration(behind) > limit {
		return fmt.Errorf("%w by %v, which is more than the %v that crtime waits: set it right, or restore with --wall-clock warn",
			ErrWallClock, behind, limit)
	}
	timer := time.NewTimer(time.Duration(behind))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
