// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// person is one process of a tree in a test.
type person struct {
	pid, ppid, pgid, sid int
	zombie               bool
}

// treeOf makes a set of persons; the first is the root.
func treeOf(persons ...person) *criuimg.Set {
	s := criuimg.NewSet()
	for _, p := range persons {
		s.Tree = append(s.Tree, &pstree.PstreeEntry{
			Pid: proto.Uint32(uint32(p.pid)), Ppid: proto.Uint32(uint32(p.ppid)),
			Pgid: proto.Uint32(uint32(p.pgid)), Sid: proto.Uint32(uint32(p.sid)),
			Threads: []uint32{uint32(p.pid)},
		})
		state := uint32(criuimg.TaskAlive)
		if p.zombie {
			state = criuimg.TaskDead
		}
		s.Process[uint32(p.pid)] = &criuimg.Process{Core: &criu_core.CoreEntry{
			Tc: &criu_core.TaskCoreEntry{TaskState: &state, ExitCode: proto.Uint32(3 << 8)},
		}}
	}
	return s
}

// kernel plays a plan as the kernel would and finds what came out.
type kernel struct {
	parent, sid, pgid map[int]int
	adopts            map[int]bool
	ended             map[int]bool
}

func play(steps []Step, from Origin) (*kernel, error) {
	k := &kernel{
		parent: map[int]int{}, adopts: map[int]bool{}, ended: map[int]bool{},
		sid: map[int]int{0: from.SID}, pgid: map[int]int{0: from.PGID},
	}
	alive := func(pid int) bool { _, ok := k.sid[pid]; return ok && !k.ended[pid] }
	for _, s := range steps {
		if s.Action != Fork && !alive(s.PID) {
			return nil, fmt.Errorf("%v: no such process", s)
		}
		switch s.Action {
		case Fork:
			if !alive(s.Parent) || k.sid[s.PID] != 0 {
				return nil, fmt.Errorf("%v: cannot be born", s)
			}
			k.parent[s.PID], k.sid[s.PID], k.pgid[s.PID] = s.Parent, k.sid[s.Parent], k.pgid[s.Parent]
		case NewSession:
			for pid, g := range k.pgid {
				if g == s.PID && pid != 0 {
					return nil, fmt.Errorf("%v: it leads a group", s)
				}
			}
			k.sid[s.PID], k.pgid[s.PID] = s.PID, s.PID
		case SetGroup:
			if k.sid[s.PID] == s.PID {
				return nil, fmt.Errorf("%v: it leads a session", s)
			}
			ok := s.Group == s.PID
			for pid, g := range k.pgid {
				ok = ok || g == s.Group && k.sid[pid] == k.sid[s.PID]
			}
			if !ok {
				return nil, fmt.Errorf("%v: no such group in its session", s)
			}
			k.pgid[s.PID] = s.Group
		case AdoptOrphans, StopAdopting:
			k.adopts[s.PID] = s.Action == AdoptOrphans
		case EndHelper:
			if k.parent[s.PID] != s.Parent {
				return nil, fmt.Errorf("%v: its parent is %d", s, k.parent[s.PID])
			}
			heir := s.Parent
			for heir != 0 && !k.adopts[heir] {
				heir = k.parent[heir]
			}
			if heir == 0 && !k.adopts[0] {
				heir = -1
			}
			for pid, parent := range k.parent {
				if parent == s.PID {
					k.parent[pid] = heir
				}
			}
			delete(k.parent, s.PID)
			delete(k.sid, s.PID)
			delete(k.pgid, s.PID)
		case NewKeyring: // See TestBirthsKeyrings.
		case Exit:
			for pid, parent := range k.parent {
				if parent == s.PID {
					return nil, fmt.Errorf("%v: it has child %d", s, pid)
				}
			}
			k.ended[s.PID] = true
		}
	}
	return k, nil
}

// TestBirthsKeyrings checks that processes which shared a session keyring with the
// one that bore them still do, and no others.
func TestBirthsKeyrings(t *testing.T) {
	persons := []person{
		{10, 0, 10, 10, false},
		{11, 10, 11, 11, false},
		{12, 11, 12, 11, false},
		{13, 10, 10, 10, false},
		{14, 10, 10, 10, true},
		{15, 10, 15, 11, false}, // Adopted from the session of 11.
		{16, 10, 16, 11, false},
	}
	s := treeOf(persons...)
	for pid, keyring := range map[uint32]uint64{10: 1, 11: 2, 12: 2, 13: 1, 15: 2, 16: 3} {
		extra.Set(s.Process[pid].Core.Tc, fieldKeyring, keyring)
	}
	steps, err := Births(s, Origin{SID: 900, PGID: 901})
	if err != nil {
		t.Fatal(err)
	}
	if k, err := play(steps, Origin{SID: 900, PGID: 901}); err != nil || agrees(k, persons) != nil {
		t.Errorf("%v, %v", err, agrees(k, persons))
	}
	keyring := map[int]int{} // Named after who got it; 0: crtime's.
	for _, s := range steps {
		if s.Action == Fork {
			keyring[s.PID] = keyring[s.Parent]
		}
		if s.Action == NewKeyring {
			keyring[s.PID] = s.PID
		}
	}
	for pid, want := range map[int]int{10: 10, 11: 11, 12: 11, 13: 10, 15: 11, 16: 16} {
		equal(t, fmt.Sprintf("session keyring of process %d", pid), keyring[pid], want)
	}
}

// agrees reports how the played tree differs from the wanted one.
func agrees(k *kernel, persons []person) error {
	if len(k.parent) != len(persons) {
		return fmt.Errorf("%d processes are left instead of %d", len(k.parent), len(persons))
	}
	for _, p := range persons {
		got := person{p.pid, k.parent[p.pid], k.pgid[p.pid], k.sid[p.pid], k.ended[p.pid]}
		if got != p {
			return fmt.Errorf("got %+v, want %+v", got, p)
		}
	}
	for pid, on := range k.adopts {
		if on && pid != 0 {
			return fmt.Errorf("process %d still adopts orphans", pid)
		}
	}
	return nil
}

func TestBirths(t *testing.T) {
	tests := []struct {
		name    string
		persons []person
	}{
		{"a leader alone", []person{{10, 0, 10, 10, false}}},
		{"in crtime's session", []person{{10, 0, 10, 900, false}}},
		{"in crtime's session and group", []person{{10, 0, 901, 900, false}}},
		{"child in the session", []person{{10, 0, 10, 10, false}, {11, 10, 10, 10, false}}},
		{"child before setsid", []person{{10, 0, 10, 10, false}, {11, 10, 11, 900, false}}},
		{"grandchild before two setsids", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, false}, {12, 11, 12, 900, false}}},
		{"zombie that leads the group", []person{{10, 0, 10, 10, false}, {11, 10, 11, 10, true}, {12, 10, 11, 10, false}}},
		{"zombie that leads a session", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, true}, {12, 10, 11, 11, false}}},
		{"leader of the group is gone", []person{{10, 0, 10, 10, false}, {11, 10, 50, 10, false}, {12, 10, 50, 10, false}}},
		{"leader of the session is gone", []person{{10, 0, 10, 10, false}, {11, 10, 50, 50, false}, {12, 11, 12, 50, false}}},
		{"adopted from a session in the tree", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, false}, {12, 10, 12, 11, false}}},
		{"root whose session's leader is gone", []person{{10, 0, 10, 60, false}, {11, 10, 10, 60, false}}},
		{"root that left a session", []person{{10, 0, 10, 10, false}, {11, 10, 60, 60, false}}},
		{"leader that went to another group", []person{{10, 0, 10, 10, false}, {11, 10, 12, 10, false}, {12, 10, 12, 10, false}, {13, 10, 11, 10, false}}},
		{"leader of a session gone, whose only member founded a group and came back", []person{{10, 0, 10, 10, false}, {11, 10, 50, 50, false}, {12, 11, 11, 50, false}}},
		{"two leaders that changed places", []person{{10, 0, 10, 10, false}, {11, 10, 12, 10, false}, {12, 10, 11, 10, false}}},
	}
	from := Origin{SID: 900, PGID: 901}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := Births(treeOf(tt.persons...), from)
			if err != nil {
				t.Fatal(err)
			}
			k, err := play(steps, from)
			if err == nil {
				err = agrees(k, tt.persons)
			}
			if err != nil {
				t.Errorf("%v\nsteps: %v", err, steps)
			}
		})
	}
}

func TestBirthsShellJob(t *testing.T) {
	s := treeOf(person{10, 0, 10, 60, false}, person{11, 10, 60, 60, false}, person{12, 10, 12, 12, false})
	from := Origin{SID: 900, PGID: 901, ShellJob: true, Taken: func(pid int) bool { return pid == 60 }}
	steps, err := Births(s, from)
	if err != nil {
		t.Fatal(err)
	}
	k, err := play(steps, from)
	if err != nil {
		t.Fatal(err)
	}
	if k.sid[10] != 900 || k.pgid[10] != 10 || k.sid[11] != 900 || k.sid[12] != 12 {
		t.Errorf("sessions %v, groups %v after %v", k.sid, k.pgid, steps)
	}
	if from.ShellJob = false; true {
		var te *TreeError
		if _, err := Births(s, from); !errors.As(err, &te) || te.PID != 10 {
			t.Errorf("a session whose number is in use, without ShellJob: %v", err)
		}
	}
}

// TestBirthsOutside makes trees whose sessions and groups were led from outside
// their pid namespace, also where crtime's own are.
func TestBirthsOutside(t *testing.T) {
	persons := []person{{10, 0, 0, 0, false}, {11, 10, 0, 0, false}, {12, 10, 12, 0, false}, {13, 10, 13, 13, false}, {14, 13, 0, 0, false}}
	const session = 32767 // What number takes first.
	for _, from := range []Origin{{SID: 900, PGID: 901}, {SID: outside, PGID: outside}, {SID: outside, PGID: 901}} {
		for _, from.ShellJob = range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v", from), func(t *testing.T) {
				steps, err := Births(treeOf(persons...), from)
				if err != nil {
					t.Fatal(err)
				}
				sid, pgid := session, session
				if from.ShellJob {
					sid, pgid = from.SID, from.PGID
				}
				var want []person
				for _, p := range persons {
					if p.sid == 0 {
						p.sid = sid
					}
					if p.pgid == 0 {
						p.pgid = pgid
					}
					want = append(want, p)
				}
				k, err := play(steps, from)
				if err == nil {
					err = agrees(k, want)
				}
				if err != nil {
					t.Errorf("%v\nsteps: %v", err, steps)
				}
				for _, s := range steps {
					if s.Group < 0 {
						t.Errorf("%v: no process can", s)
					}
				}
			})
		}
	}
}

func TestBirthsRefuses(t *testing.T) {
	tests := []struct {
		name    string
		persons []person
		pid     int
	}{
		{"no process", nil, 0},
		{"unknown parent", []person{{10, 0, 10, 10, false}, {11, 12, 11, 10, false}}, 11},
		{"child of a zombie", []person{{10, 0, 10, 10, false}, {11, 10, 11, 10, true}, {12, 11, 11, 10, false}}, 12},
		{"same number twice", []person{{10, 0, 10, 10, false}, {10, 10, 10, 10, false}}, 10},
		{"session leader in another group", []person{{10, 0, 10, 10, false}, {11, 10, 10, 11, false}}, 11},
		{"group in two sessions", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, false}, {12, 10, 11, 10, false}}, 12},
		{"session without its leader's number", []person{{10, 0, 10, 10, false}, {11, 10, 11, 10, false}, {12, 10, 12, 11, false}}, 12},
		{"group without a number in a session with one", []person{{10, 0, 10, 10, false}, {11, 10, 0, 10, false}}, 11},
		{"session of a sibling's descendant", []person{{10, 0, 10, 10, false}, {11, 10, 11, 11, false}, {12, 10, 12, 10, false}, {13, 12, 13, 11, false}}, 13},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := Births(treeOf(tt.persons...), Origin{SID: 900, PGID: 901})
			var te *TreeError
			if !errors.As(err, &te) || te.PID != tt.pid {
				t.Errorf("got steps %v and error %v", steps, err)
			}
		})
	}
}

// history makes a tree by what processes really do: fork, setsid, setpgid, end.
// A plan for its outcome must lead to the same outcome.
func TestBirthsOfRealHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := Origin{SID: 900, PGID: 901}
		live := []person{{10, 0, 901, 900, false}}
		next := 11
		index := func(pid int) int { return slices.IndexFunc(live, func(p person) bool { return p.pid == pid }) }
		for range rapid.IntRange(0, 30).Draw(t, "deeds") {
			i := rapid.IntRange(0, len(live)-1).Draw(t, "who")
			p := &live[i]
			if p.zombie {
				continue
			}
			switch rapid.SampledFrom([]string{"fork", "fork", "setsid", "own group", "join", "zombie"}).Draw(t, "deed") {
			case "fork":
				live = append(live, person{next, p.pid, p.pgid, p.sid, false})
				next++
			case "setsid":
				if !slices.ContainsFunc(live, func(q person) bool { return q.pgid == p.pid }) {
					p.sid, p.pgid = p.pid, p.pid
				}
			case "own group":
				if p.sid != p.pid {
					p.pgid = p.pid
				}
			case "join":
				q := rapid.SampledFrom(live).Draw(t, "whose")
				if p.sid != p.pid && q.sid == p.sid {
					p.pgid = q.pgid
				}
			case "zombie":
				if i != 0 && !slices.ContainsFunc(live, func(q person) bool { return q.ppid == p.pid }) {
					p.zombie = true
				}
			}
		}
		// The images list parents first.
		slices.SortFunc(live, func(a, b person) int { return a.pid - b.pid })
		if index(10) != 0 {
			t.Fatal("the root is lost")
		}
		steps, err := Births(treeOf(live...), from)
		if err != nil {
			t.Fatalf("%v\ntree: %+v", err, live)
		}
		k, err := play(steps, from)
		if err == nil {
			err = agrees(k, live)
		}
		if err != nil {
			t.Fatalf("%v\ntree: %+v\nsteps: %v", err, live, steps)
		}
	})
}
