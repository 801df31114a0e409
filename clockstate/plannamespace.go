// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"errors"
	"fmt"
)

// need is an offset that something asks for, with its reason.
type need struct {
	clock  Clock
	offset Nanos
	why    string
}

// planNamespace computes the offsets of the namespace that replaces ns.
func (p *Plan) planNamespace(ns Namespace) (PlannedNamespace, error) {
	out := PlannedNamespace{ID: ns.ID}
	err := p.fillNamespace(&out, ns.Offsets)
	var outside *RangeError
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &outside):
		return PlannedNamespace{}, outside
	default:
		return PlannedNamespace{}, fmt.Errorf("plan time namespace %d: %w", ns.ID, err)
	}
}

func (p *Plan) fillNamespace(out *PlannedNamespace, recorded Offsets) error {
	var err error
	if out.Recorded, err = p.State.Freeze.Shift(recorded); err != nil {
		return err
	}
	own, err := p.policyOffsets(out)
	if err != nil {
		return err
	}
	if out.Offsets.Monotonic, err = p.raiseMonotonic(out, own.Monotonic); err != nil {
		return err
	}
	if out.Offsets.Boottime, err = p.raiseBoottime(out, own.Boottime); err != nil {
		return err
	}
	return p.checkResult(out)
}

// policyOffsets sets what the policy wants at r and returns the offsets that
// give it.
func (p *Plan) policyOffsets(out *PlannedNamespace) (Offsets, error) {
	host, err := p.nominal()
	if err != nil {
		return Offsets{}, err
	}
	mono, boot, err := p.wanted(out, host)
	if err != nil {
		return Offsets{}, err
	}
	var own Offsets
	if own.Monotonic, err = Sub(mono, host.Monotonic); err != nil {
		return Offsets{}, err
	}
	if own.Boottime, err = Sub(boot, host.Boottime); err != nil {
		return Offsets{}, err
	}
	// RAW and COARSE follow MONOTONIC's offset; these are their least values.
	if out.Wanted, err = p.Resume.Shift(own); err != nil {
		return Offsets{}, err
	}
	out.Wanted.Monotonic, out.Wanted.Boottime = mono, boot
	return own, nil
}

// nominal returns the host's MONOTONIC and BOOTTIME at r as the reading has
// them, without the allowance for its width: this is what makes the offsets of
// an unchanged boot come out exactly as they were.
func (p *Plan) nominal() (Readings, error) {
	boot, err := Add(p.Resume.Boottime, p.Dest.Width)
	return Readings{Monotonic: p.Resume.Monotonic, Boottime: boot}, err
}

// wanted returns T for both clocks, by the table of the policies.
func (p *Plan) wanted(out *PlannedNamespace, host Readings) (mono, boot Nanos, err error) {
	s := out.Recorded
	var addMono, addBoot Nanos
	switch p.Policy {
	case Freeze:
		// S as it is.
	case Suspend:
		addBoot = p.Outage.Duration
	case Elapsed:
		addMono, addBoot = p.Outage.Duration, p.Outage.Duration
	case FollowHost:
		addMono = max(0, host.Monotonic-s.Monotonic)
		// BOOTTIME - MONOTONIC must not shrink. What the widths of the readings
		// leave open does not count, or a namespace without offsets would get
		// some on its own host.
		addBoot = max(0, host.Boottime-s.Boottime, addMono-p.tolerance())
	}
	if mono, err = Add(s.Monotonic, addMono); err != nil {
		return 0, 0, &RangeError{Clock: Monotonic, Namespace: out.ID, Overflow: true}
	}
	if boot, err = Add(s.Boottime, addBoot); err != nil {
		return 0, 0, &RangeError{Clock: Boottime, Namespace: out.ID, Overflow: true}
	}
	return mono, boot, nil
}

// raiseMonotonic returns the offset that MONOTONIC, RAW and COARSE share: the
// policy's own or the largest that any of the three needs.
func (p *Plan) raiseMonotonic(out *PlannedNamespace, own Nanos) (Nanos, error) {
	needs := []need{
		{clock: Monotonic, why: "CLOCK_MONOTONIC may not go backward"},
		{clock: MonotonicRaw, why: "CLOCK_MONOTONIC_RAW, which shares MONOTONIC's offset, is further behind on this host"},
		{clock: MonotonicCoarse, why: "CLOCK_MONOTONIC_COARSE, which shares MONOTONIC's offset, lags more on this host"},
	}
	if err := p.promised(out, needs); err != nil {
		return 0, err
	}
	return out.raise(own, append(needs, notNegative(Monotonic, p.Dest.Monotonic)))
}

// raiseBoottime returns BOOTTIME's offset, which also keeps BOOTTIME -
// MONOTONIC from shrinking after MONOTONIC's offset was raised.
func (p *Plan) raiseBoottime(out *PlannedNamespace, own Nanos) (Nanos, error) {
	needs := []need{{clock: Boottime, why: "CLOCK_BOOTTIME may not go backward by the width of the clock readings"}}
	if err := p.promised(out, needs); err != nil {
		return 0, err
	}
	keep, err := p.keepDifference(out)
	if err != nil {
		return 0, err
	}
	// A difference that shrinks by no more than the readings can tell is left
	// alone, as Prove leaves it.
	if short, err := Sub(keep.offset, own); err != nil {
		return 0, err
	} else if short > p.tolerance() {
		needs = append(needs, keep)
	}
	return out.raise(own, append(needs, notNegative(Boottime, p.Dest.Boottime)))
}

// promised fills in the offset with which each clock reads at r at least what
// was recorded.
func (p *Plan) promised(out *PlannedNamespace, needs []need) error {
	for i, n := range needs {
		recorded, _ := out.Recorded.Of(n.clock)
		host, _ := p.Resume.Of(n.clock)
		offset, err := Sub(recorded, host)
		if err != nil {
			return err
		}
		needs[i].offset = offset
	}
	return nil
}

// keepDifference returns the offset of BOOTTIME with which BOOTTIME - MONOTONIC
// is as recorded.
func (p *Plan) keepDifference(out *PlannedNamespace) (need, error) {
	host, err := p.nominal()
	if err != nil {
		return need{}, err
	}
	mono, err := Add(host.Monotonic, out.Offsets.Monotonic)
	if err != nil {
		return need{}, err
	}
	// Both differences are of values between 0 and MaxReading.
	boot, err := Add(mono, out.Recorded.Boottime-out.Recorded.Monotonic)
	if err != nil {
		return need{}, &RangeError{Clock: Boottime, Namespace: out.ID, Overflow: true}
	}
	offset, err := Sub(boot, host.Boottime)
	return need{Boottime, offset, "CLOCK_BOOTTIME keeps its distance from CLOCK_MONOTONIC"}, err
}

// notNegative returns the least offset that the kernel takes at all: it is
// written before r, when the host's clock is still at now, and the clock may
// not be negative even then.
func notNegative(c Clock, now Nanos) need {
	return need{c, -now, "the kernel takes no offset that makes " + c.String() + " negative while it is written"}
}

// raise returns the largest of the policy's own offset and the needs, and
// records what that adds as a correction.
func (n *PlannedNamespace) raise(own Nanos, needs []need) (Nanos, error) {
	most := need{offset: own}
	for _, each := range needs {
		if each.offset > most.offset {
			most = each
		}
	}
	forward, err := Sub(most.offset, own)
	if err != nil {
		return 0, err
	}
	if forward > 0 {
		n.Corrections = append(n.Corrections, Correction{Clock: most.clock, Forward: forward, Why: most.why})
	}
	return most.offset, nil
}

// checkResult refuses a namespace whose clocks the kernel would not accept.
func (p *Plan) checkResult(out *PlannedNamespace) error {
	for _, c := range readClocks() {
		host, _ := p.Resume.Of(c)
		if c != Monotonic {
			// From the least that the host can read to the most.
			host = satAdd(host, 2*p.Dest.Width)
		}
		value, err := Add(host, out.Offsets.Of(c))
		if err != nil {
			return &RangeError{Clock: c, Namespace: out.ID, Overflow: true}
		}
		if value < 0 || value > MaxReading {
			return &RangeError{Clock: c, Namespace: out.ID, Value: value}
		}
	}
	return nil
}
