// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"slices"
)

// joinGroups plans the process groups, when all processes are born and in their
// sessions: first every group gets a founder, then the others join, and last
// those leave that founded a group which is not theirs any more.
func (p *plan) joinGroups() error {
	groups := map[int][]*member{}
	var order []int
	for _, m := range p.members {
		if m.pid == m.sid {
			if m.pgid != m.pid {
				return &TreeError{m.pid, fmt.Sprintf("it leads session %d and is in group %d, which no process can be", m.sid, m.pgid)}
			}
			continue // It cannot leave its group, nor need it join.
		}
		if groups[m.pgid] == nil {
			order = append(order, m.pgid)
		}
		groups[m.pgid] = append(groups[m.pgid], m)
	}
	for _, g := range order {
		if err := p.keep(g, groups); err != nil {
			return err
		}
	}
	for _, g := range order {
		if err := p.found(g, groups[g]); err != nil {
			return err
		}
	}
	var wanderers []*member
	for _, g := range order {
		for _, m := range groups[g] {
			switch {
			case m.pid == g:
			case groups[m.pid] != nil:
				wanderers = append(wanderers, m)
			case p.inherits(m):
			default:
				p.do(Step{Action: SetGroup, PID: m.pid, Group: g})
			}
		}
	}
	for _, m := range wanderers {
		if m.pgid == outside {
			return &TreeError{m.pid, fmt.Sprintf("it founded group %d and is back in crtime's own, which has no number here", m.pid)}
		}
		p.do(Step{Action: SetGroup, PID: m.pid, Group: m.pgid})
	}
	p.steps = append(p.steps, p.holders...)
	return nil
}

// keep has a helper hold the group that a session began with, whose leader has ended, if
// all who were born into it leave it for a while, to found others.
func (p *plan) keep(group int, groups map[int][]*member) error {
	stays := func(m *member) bool { return groups[m.pid] == nil }
	members := groups[group]
	first := members[0]
	if first.sid == p.from.SID || !p.inherits(first) || slices.ContainsFunc(members, stays) {
		return nil
	}
	helper, err := p.number()
	if err != nil {
		return err
	}
	p.hold(helper, group, first.pid)
	return nil
}

// inherits reports whether m was born into its group: because that is crtime's, or
// the one that its session began with, whose leader is a helper that has ended.
func (p *plan) inherits(m *member) bool {
	if m.sid == p.from.SID {
		return m.pgid == p.from.PGID
	}
	return m.pgid == m.sid && p.byPID[m.sid] == nil
}

// found plans that a group exists until its members have joined. Its founder is
// the process of that number, if the tree has it. Where that one leaves again
// before a member comes, and where the tree does not have it, a helper holds the
// group.
func (p *plan) found(group int, members []*member) error {
	first := members[0]
	for _, m := range members {
		if m.sid != first.sid {
			return &TreeError{m.pid, fmt.Sprintf("its group %d is in two sessions", group)}
		}
	}
	crtimes := first.sid == p.from.SID && group == p.from.SID
	leader := p.byPID[group]
	switch {
	case p.inherits(first) || leader == nil && crtimes:
		return nil
	case leader == nil:
		if err := p.vacant(first, group); err != nil {
			return err
		}
		p.hold(group, group, first.pid)
		return nil
	case leader.sid != first.sid:
		return &TreeError{first.pid, fmt.Sprintf("it is in group %d of another session", group)}
	case leader.pid != leader.sid:
		p.do(Step{Action: SetGroup, PID: group, Group: group})
	}
	leads := func(m *member) bool {
		return slices.ContainsFunc(p.members, func(o *member) bool { return o.pgid == m.pid })
	}
	if leader.pgid != group && !slices.ContainsFunc(members, func(m *member) bool { return !leads(m) }) {
		helper, err := p.number()
		if err != nil {
			return err
		}
		p.hold(helper, group, leader.pid)
	}
	return nil
}

// hold puts a helper into a group until all members have joined.
func (p *plan) hold(helper, group, parent int) {
	p.do(Step{Action: Fork, PID: helper, Parent: parent, Helper: true})
	p.do(Step{Action: SetGroup, PID: helper, Group: group})
	p.holders = append(p.holders, Step{Action: EndHelper, PID: helper, Parent: parent})
}
