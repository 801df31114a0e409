// SPDX-License-Identifier: Apache-2.0

package tasks

import "fmt"

// bearRoot plans the birth of the root, and from there of all others.
func (p *plan) bearRoot() error {
	root := p.members[0]
	if root.leads() && root.cradle == 0 {
		root.cradle = p.from.SID
	}
	session := root.bornIn()
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
	if number == p.from.SID {
		return &TreeError{m.pid, fmt.Sprintf("its session or group %d is crtime's own, in which its parent cannot have been", number)}
	}
	if p.born[number] {
		return &TreeError{m.pid, fmt.Sprintf("its session or group %d would have to be founded twice", number)}
	}
	if p.taken(number) {
		return &TreeError{m.pid, fmt.Sprintf("the leader of its session or group %d is not in the tree, and that number is in use here; --shell-job puts the tree into crtime's own session", number)}
	}
	return nil
}

// raise plans everything below m, which is born, but for those that m adopts: see
// adoptAll.
func (p *plan) raise(m *member) error {
	var before, after []*member
	for _, c := range m.children {
		switch session := c.bornIn(); {
		case session == 0 || session == m.sid:
			after = append(after, c)
		case session == m.bornIn():
			before = append(before, c)
		}
	}
	if err := p.bear(m, before); err != nil {
		return err
	}
	if m.leads() {
		p.do(Step{Action: NewSession, PID: m.pid})
	}
	return p.bear(m, after)
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
