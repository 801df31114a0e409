// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"math"
	"slices"
)

// Proof says which promise holds for which clock, by how much.
type Proof struct {
	Namespaces []NamespaceProof `json:"namespaces"`
	// Kept is true if everything in every namespace is.
	Kept bool `json:"kept"`
	// Invalid says why the reading cannot prove anything; "" if it can. Kept
	// is then false.
	Invalid string `json:"invalid,omitempty"`
}

// NamespaceProof is the proof for one time namespace.
type NamespaceProof struct {
	// ID is the recorded namespace's inode number, as in [Namespace].
	ID uint64 `json:"id"`
	// Clocks has MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE and BOOTTIME, in
	// this order, but for one that was not recorded. BOOTTIME_ALARM is as BOOTTIME.
	Clocks []ClockProof `json:"clocks"`
	// Difference is BOOTTIME - MONOTONIC, which must not shrink.
	Difference DifferenceProof `json:"boottime_minus_monotonic"`
	// Kept is true if all of these are.
	Kept bool `json:"kept"`
}

// ClockProof compares a clock before and after.
type ClockProof struct {
	Clock Clock `json:"clock"`
	// Before is the most that was read before the freeze.
	Before Nanos `json:"before_ns"`
	// After is the least that is read after the release.
	After Nanos `json:"after_ns"`
	// Wanted is what the policy alone asks for at the planned instant.
	Wanted Nanos `json:"wanted_ns"`
	// Margin is After - Before. Negative means that the clock went backward.
	Margin Nanos `json:"margin_ns"`
	// Jump is After minus the planned value. For MONOTONIC that is exactly
	// how late the release was; corrections are not part of it.
	Jump Nanos `json:"jump_ns"`
	// Kept is true if Margin is not negative.
	Kept bool `json:"kept"`
}

// DifferenceProof compares BOOTTIME - MONOTONIC before and after.
type DifferenceProof struct {
	Before Nanos `json:"before_ns"`
	After  Nanos `json:"after_ns"`
	Wanted Nanos `json:"wanted_ns"`
	// Margin is After - Before.
	Margin Nanos `json:"margin_ns"`
	// Tolerance is how much of a negative Margin is no more than the distance
	// between two clock readings that should have been simultaneous.
	Tolerance Nanos `json:"tolerance_ns"`
	// Kept is true if Margin is not less than -Tolerance.
	Kept bool `json:"kept"`
}

// Prove checks the promise against the host's clocks at the release. Every
// value of at must have been read before the tree's first instruction, so that
// it is a lower bound of what the tree can read, and after the host's
// MONOTONIC passed the planned instant. A reading that is impossible or of
// another boot proves nothing.
func (p *Plan) Prove(at HostReading) Proof {
	if err := at.check(); err != nil {
		return Proof{Invalid: "clocks at the release: " + err.Error()}
	}
	if at.BootID != p.Dest.BootID {
		return Proof{Invalid: "the clocks at the release are of another boot than those that were planned with"}
	}
	// The plan allows for its tolerance, the host's own BOOTTIME - MONOTONIC is
	// known to the destination's width, and this reading has a width too.
	tolerance := p.tolerance() + p.Dest.Width + at.Width
	proof := Proof{Kept: true}
	for i := range p.Namespaces {
		np := p.Namespaces[i].prove(p.Resume, at.Readings, tolerance)
		np.Clocks = slices.DeleteFunc(np.Clocks, func(c ClockProof) bool { return !p.State.Recorded(c.Clock) })
		proof.Kept = proof.Kept && np.Kept
		proof.Namespaces = append(proof.Namespaces, np)
	}
	return proof
}

// tolerance is how far BOOTTIME - MONOTONIC can differ between the two readings
// that a plan is made of although it did not change.
func (p *Plan) tolerance() Nanos { return p.State.Freeze.Width + p.Dest.Width }

func (n *PlannedNamespace) prove(resume, at Readings, tolerance Nanos) NamespaceProof {
	out := Compare(n.Recorded, shiftSaturated(at, n.Offsets), tolerance)
	planned := shiftSaturated(resume, n.Offsets)
	out.ID = n.ID
	for i := range out.Clocks {
		c := &out.Clocks[i]
		c.Wanted, _ = n.Wanted.Of(c.Clock)
		plan, _ := planned.Of(c.Clock)
		c.Jump = satSub(c.After, plan)
	}
	out.Difference.Wanted = satSub(n.Wanted.Boottime, n.Wanted.Monotonic)
	return out
}

// Compare proves two readings of the same namespace's clocks against each
// other, as a process in it sees them. Wanted, Jump and ID stay 0: there is no
// plan. tolerance is the sum of the readings' widths.
func Compare(before, after Readings, tolerance Nanos) NamespaceProof {
	out := NamespaceProof{Kept: true, Clocks: make([]ClockProof, 0, len(readClocks()))}
	for _, c := range readClocks() {
		b, _ := before.Of(c)
		a, _ := after.Of(c)
		cp := ClockProof{Clock: c, Before: b, After: a, Margin: satSub(a, b), Kept: a >= b}
		out.Kept = out.Kept && cp.Kept
		out.Clocks = append(out.Clocks, cp)
	}
	d := DifferenceProof{
		Before:    satSub(before.Boottime, before.Monotonic),
		After:     satSub(after.Boottime, after.Monotonic),
		Tolerance: tolerance,
	}
	d.Margin = satSub(d.After, d.Before)
	d.Kept = satAdd(d.Margin, tolerance) >= 0
	out.Difference = d
	out.Kept = out.Kept && d.Kept
	return out
}

func shiftSaturated(r Readings, o Offsets) Readings {
	var out Readings
	for _, c := range readClocks() {
		n, _ := r.Of(c)
		out = out.with(c, satAdd(n, o.Of(c)))
	}
	return out
}

// satAdd is a + b, held at the ends of Nanos. A proof has no use for an error:
// at the ends it is still right about which of two values is larger.
func satAdd(a, b Nanos) Nanos {
	sum, err := Add(a, b)
	switch {
	case err == nil:
		return sum
	case b > 0:
		return math.MaxInt64
	default:
		return math.MinInt64
	}
}

// satSub is a - b, held at the ends of Nanos.
func satSub(a, b Nanos) Nanos {
	diff, err := Sub(a, b)
	switch {
	case err == nil:
		return diff
	case b < 0:
		return math.MaxInt64
	default:
		return math.MinInt64
	}
}
