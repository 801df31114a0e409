// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"os"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/timens"
)

// spaces are the time namespaces of a tree that is rebuilt, by the IDs of those that
// they stand for.
//
// A namespace that a process had made for its children (unshare) cannot be chosen by
// it in any other way. So it makes it again, once it is in its own, and those
// who lived there enter after that.
type spaces struct {
	home     map[int]uint64 // Where each process lives, by pid.
	unshared map[int]uint64 // What a process has made for its children.
	// rounds are the processes in the order in which they can enter: where one lives
	// exists when the rounds before its own are over.
	rounds [][]int
}

// planSpaces says how the living processes of a tree get to where they lived. Nothing
// is made; an error says that the record contradicts itself, or the images.
func planSpaces(s *clockstate.State, living []int) (*spaces, error) {
	sp := &spaces{home: map[int]uint64{}, unshared: map[int]uint64{}}
	makers := s.Unshared()
	for _, p := range s.Processes {
		pid := int(p.OuterPID)
		sp.home[pid] = p.Namespace
		if p.NamespaceForChildren == p.Namespace {
			continue
		}
		if maker := makers[p.NamespaceForChildren]; maker != p.OuterPID {
			return nil, fmt.Errorf("%w: process %d (%s) has chosen for its children the time namespace that process %d has made for its own, which no process can do twice",
				engine.ErrUnsupported, pid, p.Comm, maker)
		}
		sp.unshared[pid] = p.NamespaceForChildren
	}
	there := map[uint64]bool{}
	for _, id := range sp.home {
		_, later := makers[id]
		there[id] = !later
	}
	for waiting := living; len(waiting) > 0; {
		var round, rest []int
		for _, pid := range waiting {
			if id, known := sp.home[pid]; !known {
				return nil, fmt.Errorf("the clock image does not know process %d", pid)
			} else if there[id] {
				round = append(round, pid)
			} else {
				rest = append(rest, pid)
			}
		}
		if len(round) == 0 {
			return nil, fmt.Errorf("the clock image says that process %d lived in time namespace %d, which nobody can have made before", rest[0], sp.home[rest[0]])
		}
		for _, pid := range round {
			there[sp.unshared[pid]] = true
		}
		sp.rounds = append(sp.rounds, round)
		waiting = rest
	}
	return sp, nil
}

// enter takes every process to where it lived. The offsets of what crtime has made
// are written already.
func (sp *spaces) enter(plan *clockstate.Plan, made map[uint64]*timens.Holder, stubs map[int]*remote.Stub) (err error) {
	doors := map[uint64]*os.File{}
	for id, holder := range made {
		doors[id] = holder.FD()
	}
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, round := range sp.rounds {
		if err := sp.enterRound(round, doors, stubs); err != nil {
			return err
		}
		var makers []*remote.Stub
		for _, pid := range round {
			if sp.unshared[pid] != 0 {
				makers = append(makers, stubs[pid])
			}
		}
		if err := remote.UnshareAll(makers); err != nil {
			return err
		}
		for _, maker := range makers {
			id := sp.unshared[maker.PID()]
			planned, err := plan.Namespace(id)
			if err != nil {
				return err
			}
			door, err := timens.SetUnshared(maker.PID(), planned.Offsets)
			if err != nil {
				return fmt.Errorf("time namespace for the children of process %d: %w", maker.PID(), err)
			}
			doors[id], opened = door, append(opened, door)
		}
	}
	return nil
}

// enterRound lets the processes of a round in, all that go to one namespace together.
func (sp *spaces) enterRound(round []int, doors map[uint64]*os.File, stubs map[int]*remote.Stub) error {
	groups := map[uint64][]*remote.Stub{}
	for _, pid := range round {
		groups[sp.home[pid]] = append(groups[sp.home[pid]], stubs[pid])
	}
	for id, group := range groups {
		if err := remote.JoinAll(group, doors[id]); err != nil {
			return err
		}
	}
	return nil
}
