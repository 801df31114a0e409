// SPDX-License-Identifier: Apache-2.0

package tasks

// A session leader was born in another session than its own. Which one shows nowhere
// any more, but in children that it forked before its setsid: they are still in it. This
// file finds out of the tree which it may have been.

// leads reports whether m leads a session.
func (m *member) leads() bool { return m.sid == m.pid }

// bornIn is the session that m is born in; 0: any.
func (m *member) bornIn() int {
	if m.leads() {
		return m.cradle
	}
	return m.sid
}

// adopted reports whether m was not forked by its parent, which was never in the session
// that m was born in.
func (m *member) adopted() bool {
	session := m.bornIn()
	return m.parent != nil && session != 0 && session != m.parent.sid && session != m.parent.bornIn()
}

// below reports whether m is a descendant of ancestor.
func (m *member) below(ancestor *member) bool {
	for m = m.parent; m != nil; m = m.parent {
		if m == ancestor {
			return true
		}
	}
	return false
}

// depth is how many ancestors m has.
func (m *member) depth() int {
	n := 0
	for m = m.parent; m != nil; m = m.parent {
		n++
	}
	return n
}

// chooseCradles decides for session leaders in which session they are born.
func (p *plan) chooseCradles() {
	// What is near is likely, and what is far stands in the way of others.
	for _, m := range p.members {
		if m.adopted() && m.parent.parent != nil && m.parent.parent.sid == m.bornIn() {
			_ = p.layInto(m.parent, m.sid)
		}
	}
	for _, m := range p.members {
		if session := m.bornIn(); m.adopted() && (session == p.from.SID || p.byPID[session] != nil && !p.onLine(m.parent, session)) {
			_ = p.layInto(m.parent, session)
		}
	}
	settled := map[int]bool{}
	for _, m := range p.members {
		if session := m.bornIn(); m.adopted() && !settled[session] {
			p.settle(session)
			settled[session] = true
		}
	}
}

// layInto makes m, a session leader, be born in a session by its own parent, and reports
// whether that can be.
func (p *plan) layInto(m *member, session int) bool {
	if !m.leads() || session == m.pid {
		return false
	}
	if m.cradle != 0 {
		return m.cradle == session
	}
	parent := m.parent
	switch {
	case parent == nil:
		// A helper can found it, unless a process of the tree has that number.
		if session != p.from.SID && p.byPID[session] != nil {
			return false
		}
	case parent.sid == session:
	case !p.layInto(parent, session):
		return false
	}
	m.cradle = session
	return true
}

// settle makes session leaders be born in a session and adopted, until those who adopt
// from it can: each has to have somebody of that session below it. So if its leader is in
// the tree, that is it, and otherwise all who adopt have to be on one line of descent,
// where a helper can be below the last of them. Whoever is not was in the session itself,
// before it made its own.
func (p *plan) settle(session int) {
	for range p.members {
		var outsider *member // The one that is farthest from the root.
		for _, m := range p.adopters(session) {
			if m.leads() && m.cradle == 0 && !p.onLine(m, session) && (outsider == nil || m.depth() > outsider.depth()) {
				outsider = m
			}
		}
		if outsider == nil || outsider.parent == nil || outsider.pid == session {
			return
		}
		outsider.cradle = session
	}
}

// adopters are the parents of those that are adopted out of a session, each once.
func (p *plan) adopters(session int) []*member {
	var list []*member
	seen := map[*member]bool{}
	for _, some := range [][]*member{p.inSession[session], p.leaders} {
		for _, m := range some {
			if m.bornIn() == session && m.adopted() && !seen[m.parent] {
				list = append(list, m.parent)
				seen[m.parent] = true
			}
		}
	}
	return list
}

// onLine reports whether m can adopt out of a session as it is.
func (p *plan) onLine(m *member, session int) bool {
	if leader := p.byPID[session]; leader != nil {
		return leader.below(m)
	}
	for a := m.parent; a != nil; a = a.parent {
		if a.sid == session || a.bornIn() == session {
			return false // It is younger than the session.
		}
	}
	for _, o := range p.adopters(session) {
		if o != m && !o.below(m) && !m.below(o) {
			return false
		}
	}
	return true
}
