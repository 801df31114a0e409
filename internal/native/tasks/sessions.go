// SPDX-License-Identifier: Apache-2.0

package tasks

import "fmt"

// bearRoot plans the birth of the root, and from there of all others.
func (p *plan) bearRoot() error {
	p.chooseBirths()
	root := p.members[0]
	if root.sid == root.pid && root.born == 0 {
		root.born = p.from.SID
	}
	session := root.sid
	if root.sid == root.pid {
		session = root.born
	}
	if session == p.from.SID {
		p.do(Step{Action: Fork, PID: root.pid})
		p.do(Step{Action: NewKeyring, PID: root.pid})
		return p.raise(root)
	}
	// The session's leader is outside the tree: a helper founds it again.
	if err := p.vacant(root, session); err != nil {
		return err
	}
	if !p.from.Adopts {
		p.do(Step{Action: AdoptOrphans})
	}
	p.do(Step{Action: Fork, PID: session, Helper: true})
	p.do(Step{Action: NewSession, PID: session})
	p.do(Step{Action: Fork, PID: root.pid, Parent: session})
	p.do(Step{Action: NewKeyring, PID: root.pid})
	p.do(Step{Action: EndHelper, PID: session})
	if !p.from.Adopts {
		p.do(Step{Action: StopAdopting})
	}
	return p.raise(root)
}

// vacant reports whether a helper can have the number of a session or group that
// m belongs to.
func (p *plan) vacant(m *member, number int) error {
	if pid := p.threads[number]; pid != 0 {
		return &TreeError{m.pid, fmt.Sprintf("its session or group %d has the number of a thread of process %d", number, pid)}
	}
	if p.taken(number) {
		return &TreeError{m.pid, fmt.Sprintf("the leader of its session or group %d is not in the tree, and that number is in use here; --shell-job puts the tree into crtime's own session", number)}
	}
	return nil
}

// chooseBirths decides for session leaders in which session they are born. That
// matters to children that a leader forked before its setsid.
func (p *plan) chooseBirths() {
	for _, m := range p.members {
		parent := m.parent
		if parent == nil || m.sid == m.pid || m.sid == parent.sid {
			continue
		}
		// Where it cannot be, raise finds a helper.
		_ = p.bornIn(parent, m.sid)
	}
}

// bornIn makes m, a session leader, be born in a session, and reports whether
// that can be.
func (p *plan) bornIn(m *member, session int) bool {
	if m.sid != m.pid || session == m.pid {
		return false
	}
	if m.born != 0 {
		return m.born == session
	}
	parent := m.parent
	switch {
	case parent == nil:
		// A helper can found it, unless a process of the tree has that number.
		if session != p.from.SID && p.byPID[session] != nil {
			return false
		}
	case parent.sid == session:
	case !p.bornIn(parent, session):
		return false
	}
	m.born = session
	return true
}

// raise plans everything below m, which is born.
func (p *plan) raise(m *member) error {
	var before, after, adopted []*member
	for _, c := range m.children {
		session := c.sid
		if c.sid == c.pid {
			session = c.born
		}
		switch {
		case session == 0 || session == m.sid:
			after = append(after, c)
		case m.sid == m.pid && m.born == session:
			before = append(before, c)
		default:
			adopted = append(adopted, c)
		}
	}
	if err := p.bear(m, before); err != nil {
		return err
	}
	if m.sid == m.pid {
		p.do(Step{Action: NewSession, PID: m.pid})
	}
	if err := p.bear(m, after); err != nil {
		return err
	}
	return p.adopt(m, adopted)
}

// bear plans the births of children that m forks itself.
func (p *plan) bear(m *member, children []*member) error {
	for _, c := range children {
		p.do(Step{Action: Fork, PID: c.pid, Parent: m.pid})
		p.part(c, m)
		if err := p.raise(c); err != nil {
			return err
		}
	}
	return nil
}

// part gives m a session keyring of its own unless it had that of the process from
// which it has inherited one. Processes that had one in common without one of them
// being the other's parent get one each.
func (p *plan) part(m, from *member) {
	if !m.zombie && m.keyring != from.keyring {
		p.do(Step{Action: NewKeyring, PID: m.pid})
	}
}

// adopt plans the births of children that m did not fork: helpers do, one for
// each session.
func (p *plan) adopt(m *member, children []*member) error {
	for len(children) > 0 {
		session := children[0].sid
		var same, rest []*member
		for _, c := range children {
			if c.sid == session {
				same = append(same, c)
			} else {
				rest = append(rest, c)
			}
		}
		children = rest
		if err := p.adoptFrom(m, session, same); err != nil {
			return err
		}
	}
	return nil
}

// adoptFrom plans the births of m's children that are in one session. If the
// session's leader is in the tree, the helper is that leader's child; otherwise
// the helper is the leader.
func (p *plan) adoptFrom(m *member, session int, children []*member) error {
	parent, helper, from := m.pid, session, m
	if leader := p.byPID[session]; leader != nil {
		if !below(leader, m) || leader.sid != session {
			return &TreeError{children[0].pid, fmt.Sprintf("it is in session %d, whose leader is not a descendant of its parent %d", session, m.pid)}
		}
		if !p.isBorn(leader) {
			return &TreeError{children[0].pid, fmt.Sprintf("it is in session %d, whose leader is adopted too", session)}
		}
		n, err := p.number()
		if err != nil {
			return err
		}
		parent, helper, from = leader.pid, n, leader
	} else if err := p.vacant(children[0], session); err != nil {
		return err
	}
	p.do(Step{Action: AdoptOrphans, PID: m.pid})
	p.do(Step{Action: Fork, PID: helper, Parent: parent, Helper: true})
	if helper == session {
		p.do(Step{Action: NewSession, PID: helper})
	}
	for _, c := range children {
		p.do(Step{Action: Fork, PID: c.pid, Parent: helper})
		p.part(c, from)
	}
	p.do(Step{Action: EndHelper, PID: helper, Parent: parent})
	p.do(Step{Action: StopAdopting, PID: m.pid})
	for _, c := range children {
		if err := p.raise(c); err != nil {
			return err
		}
	}
	return nil
}

// below reports whether m is a descendant of ancestor.
func below(m, ancestor *member) bool {
	for m = m.parent; m != nil; m = m.parent {
		if m == ancestor {
			return true
		}
	}
	return false
}

// isBorn reports whether the fork of m is planned already.
func (p *plan) isBorn(m *member) bool {
	for _, s := range p.steps {
		if s.Action == Fork && s.PID == m.pid {
			return true
		}
	}
	return false
}
