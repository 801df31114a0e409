// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

const (
	// timerMargin is left to clock_nanosleep by the Go timer that sleeps before
	// it: the timer can be interrupted by the context, but comes late by
	// scheduling, up to milliseconds on a busy machine.
	timerMargin clockstate.Nanos = 3_000_000
	// spinMargin is left to spinning: more than the kernel's timer slack (50 us)
	// and a wake-up on a processor that sleeps deeply.
	spinMargin clockstate.Nanos = 200_000
)

// WaitUntil returns when the host's MONOTONIC has reached at, never before, and
// on a machine that is not overloaded less than 5 us after; at once if at has
// passed. It sleeps, and spins for the last 200 us. The error is the context's
// (then at may not have come) or the kernel's. A context that ends in the last
// 3 ms may be noticed only after at.
func (r *Reader) WaitUntil(ctx context.Context, at clockstate.Nanos) error {
	local, err := clockstate.Add(at, r.own.Monotonic)
	if err != nil {
		return fmt.Errorf("wait until %v of the host's MONOTONIC: %w", at, err)
	}
	if err := waitUntil(ctx, local); err != nil {
		return fmt.Errorf("wait until %v of the host's MONOTONIC: %w", at, err)
	}
	return nil
}

// waitUntil waits on this process's own MONOTONIC: first so that the context can
// interrupt it, then in the kernel, then spinning.
func waitUntil(ctx context.Context, at clockstate.Nanos) error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	if err := pause(ctx, at-timerMargin-now); err != nil {
		return err
	}
	// The thread is kept so that no other goroutine gets it during the sleep's
	// return and the spin.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := sleepUntil(at - spinMargin); err != nil {
		return err
	}
	for {
		if now, err = monotonic(); err != nil || now >= at {
			return err
		}
	}
}

// pause sleeps for d, or until the context ends. A d that is not positive only
// checks the context.
func pause(ctx context.Context, d clockstate.Nanos) error {
	if d <= 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	timer := time.NewTimer(time.Duration(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// sleepUntil sleeps in the kernel until this process's MONOTONIC reads at.
func sleepUntil(at clockstate.Nanos) error {
	if at <= 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(at))
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		// The Go runtime interrupts threads by signals to reschedule them.
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return fmt.Errorf("clock_nanosleep: %w", err)
			}
			return nil
		}
	}
}
