// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// life is a tree that lives as the kernel would have it.
type life struct {
	people []person
	adopts map[int]bool // Subreapers.
	next   int
	fickle bool // Subreapers may stop being such.
}

func (l *life) index(pid int) int {
	return slices.IndexFunc(l.people, func(p person) bool { return p.pid == pid })
}

// end takes the process at i out of the tree, and its orphans go to the nearest of
// its ancestors that adopts, or to the root.
func (l *life) end(i int) {
	gone := l.people[i]
	heir := gone.ppid
	for heir != 10 && !l.adopts[heir] {
		heir = l.people[l.index(heir)].ppid
	}
	l.people = slices.Delete(l.people, i, i+1)
	for i, p := range l.people {
		if p.ppid == gone.pid {
			l.people[i].ppid = heir
		}
	}
}

// live does something that one process of the tree can do.
func (l *life) live(t *rapid.T) {
	i := rapid.IntRange(0, len(l.people)-1).Draw(t, "who")
	p := &l.people[i]
	switch rapid.SampledFrom([]string{"fork", "fork", "fork", "setsid", "own group", "join", "adopt", "end"}).Draw(t, "deed") {
	case "fork":
		l.people = append(l.people, person{l.next, p.pid, p.pgid, p.sid, false})
		l.next++
	case "setsid":
		if !slices.ContainsFunc(l.people, func(q person) bool { return q.pgid == p.pid }) {
			p.sid, p.pgid = p.pid, p.pid
		}
	case "own group":
		if p.sid != p.pid {
			p.pgid = p.pid
		}
	case "join":
		q := rapid.SampledFrom(l.people).Draw(t, "whose")
		if p.sid != p.pid && q.sid == p.sid {
			p.pgid = q.pgid
		}
	case "adopt":
		l.adopts[p.pid] = !l.fickle || !l.adopts[p.pid]
	case "end":
		if i != 0 {
			l.end(i)
		}
	}
}

// sorted lists parents before their children, as images do.
func (l *life) sorted() []person {
	var list []person
	var below func(pid int)
	below = func(pid int) {
		for _, p := range l.people {
			if p.ppid == pid {
				list = append(list, p)
				below(p.pid)
			}
		}
	}
	below(0)
	return list
}

// TestBirthsWithOrphans has trees whose processes adopt and end: there is a plan for
// each, and it leads to the tree. Where processes stop adopting there may be none, as
// orphans then go past who could have had them, but no plan is wrong.
func TestBirthsWithOrphans(t *testing.T) {
	from := Origin{SID: 900, PGID: 901}
	roots := []person{{10, 0, 10, 10, false}, {10, 0, 901, 900, false}, {10, 0, 10, 9, false}}
	rapid.Check(t, func(t *rapid.T) {
		l := &life{
			people: []person{rapid.SampledFrom(roots).Draw(t, "root")},
			adopts: map[int]bool{},
			next:   11,
			fickle: rapid.Bool().Draw(t, "fickle"),
		}
		for range rapid.IntRange(0, 150).Draw(t, "deeds") {
			l.live(t)
		}
		people := l.sorted()
		steps, err := Births(treeOf(people...), from)
		if _, refused := errors.AsType[*TreeError](err); refused && l.fickle {
			return
		}
		if err != nil {
			t.Fatalf("%v\ntree: %+v", err, people)
		}
		k, err := play(steps, from)
		if err == nil {
			err = agrees(k, people)
		}
		if err != nil {
			t.Fatalf("%v\ntree: %+v\nsteps: %v", err, people, steps)
		}
	})
}
