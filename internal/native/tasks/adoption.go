// SPDX-License-Identifier: Apache-2.0

package tasks

import "fmt"

// adoptAll plans the births of those whose parents did not fork them. A helper does,
// which is below that parent and in the right session, and then ends. It is the child of
// somebody who was born in that session, or, if its leader is gone and nobody has been
// born in it, it is the leader. So some have to wait for others.
func (p *plan) adoptAll() error {
	for {
		var waiting *member
		progress := false
		for _, m := range p.members {
			if p.born[m.pid] || !p.born[m.parent.pid] {
				continue
			}
			done, err := p.adopt(m)
			if err != nil {
				return err
			}
			if progress = progress || done; !done && waiting == nil {
				waiting = m
			}
		}
		if waiting == nil && !progress {
			return nil
		}
		if !progress {
			return &TreeError{waiting.pid, fmt.Sprintf("it was born in session %d, and nobody of that session can have been a descendant of its parent %d", waiting.bornIn(), waiting.parent.pid)}
		}
	}
}

// adopt plans the birth of m and of its siblings that come from the same session, and
// of everything below them, and reports whether it could already.
func (p *plan) adopt(m *member) (bool, error) {
	session, heir := m.bornIn(), m.parent
	from, helper := p.kin(session, heir), session
	switch {
	case from != nil:
		var err error
		if helper, err = p.number(); err != nil {
			return false, err
		}
	case p.byPID[session] != nil || heir != p.lowest(session):
		return false, nil
	default:
		if err := p.vacant(m, session); err != nil {
			return false, err
		}
		from = heir
	}
	var children []*member
	for _, c := range heir.children {
		if !p.born[c.pid] && c.bornIn() == session {
			children = append(children, c)
		}
	}
	p.do(Step{Action: AdoptOrphans, PID: heir.pid})
	p.do(Step{Action: Fork, PID: helper, Parent: from.pid, Helper: true})
	if helper == session {
		p.do(Step{Action: NewSession, PID: helper})
	}
	for _, c := range children {
		p.do(Step{Action: Fork, PID: c.pid, Parent: helper})
		p.part(c, from)
	}
	p.do(Step{Action: EndHelper, PID: helper, Parent: from.pid})
	p.do(Step{Action: StopAdopting, PID: heir.pid})
	for _, c := range children {
		if err := p.raise(c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// kin is somebody below heir who is born and in a session; nil: nobody.
func (p *plan) kin(session int, heir *member) *member {
	for _, m := range p.inSession[session] {
		if p.born[m.pid] && m.below(heir) {
			return m
		}
	}
	return nil
}

// lowest is who is farthest from the root of those that adopt out of a session: a helper
// below it is below the others as well.
func (p *plan) lowest(session int) *member {
	var lowest *member
	for _, m := range p.adopters(session) {
		if lowest == nil || m.depth() > lowest.depth() {
			lowest = m
		}
	}
	return lowest
}
