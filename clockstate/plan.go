// SPDX-License-Identifier: Apache-2.0

package clockstate

import (
	"errors"
	"fmt"
)

// PlanOptions say what a plan should aim at. The zero value asks for policy
// suspend and a resume as soon as possible.
type PlanOptions struct {
	// Policy relates the tree's clocks to the outage.
	Policy Policy `json:"policy"`
	// Lead is how long after the destination's reading the tree can be ready
	// to run. The planned resume is at that moment or, where the host's tick
	// is known, at the next suitable one. It must not be negative.
	Lead Nanos `json:"lead_ns"`
	// Link is a measurement between source and destination, if there is one.
	Link *LinkMeasurement `json:"link,omitempty"`
}

// Plan is what a restore has to do to the clocks, and why. [NewPlan] makes it;
// it is not changed afterwards.
type Plan struct {
	Policy Policy `json:"policy"`
	// State is what was recorded; the plan refers to it and does not copy it.
	State *State `json:"-"`
	// Outage is D, from the freeze to the planned resume instant.
	Outage Outage `json:"outage"`
	// Dest is the destination's reading that the plan starts from.
	Dest HostReading `json:"destination"`
	// Resume is the planned resume instant r on the host's clocks. Monotonic
	// defines the instant. The others are the least that the host can read
	// then. Release the tree when the host's MONOTONIC is there, not before.
	Resume Readings `json:"resume"`
	// ResumeRealtime is the host's REALTIME at r, if nobody sets it.
	ResumeRealtime Nanos `json:"resume_realtime_ns"`
	// OnTick says that r was put right after a tick, so that MONOTONIC_COARSE
	// needs next to no correction.
	OnTick     bool               `json:"on_tick"`
	Namespaces []PlannedNamespace `json:"namespaces"`
	Warnings   []Warning          `json:"warnings,omitempty"`
}

// PlannedNamespace is the new time namespace that stands for a recorded one.
type PlannedNamespace struct {
	// ID is the recorded namespace's inode number, as in [Namespace].
	ID uint64 `json:"id"`
	// Recorded is the most that any process in it has read.
	Recorded Readings `json:"recorded"`
	// Wanted is what the policy alone would have its clocks read at r. RAW and
	// COARSE are not the policy's to choose, since they share MONOTONIC's
	// offset: theirs is what results.
	Wanted Readings `json:"wanted"`
	// Offsets are to be written, relative to the initial time namespace.
	Offsets Offsets `json:"offsets"`
	// Corrections are what was added to the policy's own offsets. There is at
	// most one for each offset, named by the clock that needed it most.
	Corrections []Correction `json:"corrections,omitempty"`
}

// Namespace returns what is planned for the namespace that has this ID in the recorded
// state, or an ErrInvalid.
func (p *Plan) Namespace(id uint64) (PlannedNamespace, error) {
	for _, ns := range p.Namespaces {
		if ns.ID == id {
			return ns, nil
		}
	}
	return PlannedNamespace{}, fmt.Errorf("%w: the plan has nothing for time namespace %d", ErrInvalid, id)
}

// FrozenWall returns what REALTIME and TAI read at the freeze, for timers that run on
// them. One that was not recorded counts as if no time had passed on it, so that its
// timers are late rather than early, or TAI as being as far from REALTIME as it is
// at the destination.
func (p *Plan) FrozenWall() (realtime, tai Nanos) {
	realtime, tai = p.State.Freeze.Realtime, p.State.Freeze.TAI
	if !p.State.Recorded(Realtime) {
		realtime = p.ResumeRealtime
	}
	if !p.State.Recorded(TAI) {
		tai = satAdd(realtime, satSub(p.Dest.TAI, p.Dest.Realtime))
	}
	return realtime, tai
}

// Correction is a forward shift beyond what the policy asks for.
type Correction struct {
	// Clock is the one that needed it. Its offset moves other clocks along.
	Clock Clock `json:"clock"`
	// Forward is the shift; it is positive.
	Forward Nanos `json:"forward_ns"`
	// Why is a sentence for people.
	Why string `json:"why"`
}

// NewPlan computes the offsets with which the tree of s goes on at a resume
// instant at or after dest + o.Lead. dest is a reading of the host that
// restores it, as the initial time namespace has it.
//
// The plan keeps the promise of the package comment for every release at or
// after the planned instant, given that until then the host's MONOTONIC gains
// at most 500 ppm on MONOTONIC_RAW, the host is not suspended, and its tick is
// not later than [CoarseMargin]. What the host really did is known only at
// the release: ask [Plan.Prove].
//
// It fails with [ErrInvalid] for arguments that contradict themselves, with a
// [*RangeError] if the kernel would refuse the clocks, and as [MeasureOutage]
// does if the policy needs the outage.
func NewPlan(s *State, dest HostReading, o PlanOptions) (*Plan, error) {
	if err := checkPlanInput(s, dest, o); err != nil {
		return nil, err
	}
	p := &Plan{Policy: o.Policy, State: s, Dest: dest}
	later, err := p.chooseResume(o.Lead)
	if err != nil {
		return nil, err
	}
	if err := p.setOutage(o.Link, later); err != nil {
		return nil, err
	}
	p.warn()
	for _, ns := range s.Namespaces {
		planned, err := p.planNamespace(ns)
		if err != nil {
			return nil, err
		}
		p.Namespaces = append(p.Namespaces, planned)
	}
	p.warnCorrections()
	return p, nil
}

func checkPlanInput(s *State, dest HostReading, o PlanOptions) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("recorded clocks: %w", err)
	}
	if err := dest.check(); err != nil {
		return fmt.Errorf("clocks of this host: %w", err)
	}
	if _, err := o.Policy.MarshalText(); err != nil {
		return err
	}
	if o.Lead < 0 {
		return fmt.Errorf("%w: the lead is negative (%v)", ErrInvalid, o.Lead)
	}
	return nil
}

// chooseResume sets the planned instant and what the host's clocks read then.
// It returns how much later than the destination's reading that is.
func (p *Plan) chooseResume(lead Nanos) (later Nanos, err error) {
	at, onTick, err := resumeInstant(p.Dest, lead)
	if err != nil {
		return 0, fmt.Errorf("resume instant %v after this host's reading: %w", lead, err)
	}
	p.OnTick = onTick
	if p.Resume, err = predict(p.Dest, at, onTick); err != nil {
		return 0, fmt.Errorf("host clocks at the resume instant: %w", err)
	}
	if later, err = Sub(at, p.Dest.Monotonic); err != nil {
		return 0, fmt.Errorf("time until the resume instant: %w", err)
	}
	if p.ResumeRealtime, err = Add(p.Dest.Realtime, later); err != nil {
		return 0, fmt.Errorf("CLOCK_REALTIME at the resume instant: %w", err)
	}
	return later, nil
}

// setOutage measures the outage until the resume instant. A policy that does
// not use it goes on without it if a clock that it takes was not read.
func (p *Plan) setOutage(link *LinkMeasurement, later Nanos) error {
	out, err := MeasureOutage(p.State, p.Dest, link)
	if err == nil {
		p.Outage, err = out.extendTo(later)
	}
	if err == nil {
		return nil
	}
	if p.Policy.usesOutage() || !errors.Is(err, ErrNotRecorded) {
		return err
	}
	p.Outage = Outage{Note: err.Error()}
	return nil
}
