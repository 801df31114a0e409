// SPDX-License-Identifier: Apache-2.0

package clockstate

import "fmt"

// CarriedOut returns the plan as somebody else has carried it out who writes offsets by
// reckoning of his own: with the offsets that the namespace with this ID has really
// got. Where MONOTONIC's is smaller than planned, the resume instant is as much later,
// and the outage as much longer, so that MONOTONIC reads then what was planned.
//
// What the policy wants, and the corrections, stay those of the plan. The error is an
// ErrInvalid if the plan has no such namespace, and wraps [ErrOverflow] if the instant
// does not fit.
func (p *Plan) CarriedOut(id uint64, o Offsets) (*Plan, error) {
	planned, err := p.Namespace(id)
	if err != nil {
		return nil, err
	}
	short, err := Sub(planned.Offsets.Monotonic, o.Monotonic)
	if err != nil {
		return nil, fmt.Errorf("offsets of time namespace %d: %w", id, err)
	}
	short = max(short, 0)
	out := *p
	out.Namespaces = make([]PlannedNamespace, len(p.Namespaces))
	copy(out.Namespaces, p.Namespaces)
	for i := range out.Namespaces {
		if out.Namespaces[i].ID == id {
			out.Namespaces[i].Offsets = o
		}
	}
	if out.Resume, err = out.Resume.Shift(Offsets{Monotonic: short, Boottime: short}); err != nil {
		return nil, fmt.Errorf("resume instant: %w", err)
	}
	out.OnTick = out.OnTick && short == 0
	if out.ResumeRealtime, err = Add(out.ResumeRealtime, short); err != nil {
		return nil, fmt.Errorf("resume instant: %w", err)
	}
	if out.Outage, err = out.Outage.extendTo(short); err != nil {
		return nil, err
	}
	return &out, nil
}
