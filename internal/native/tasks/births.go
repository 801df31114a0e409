// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/extra"
)

// Action is what a Step does.
type Action int

// The actions of a Step.
const (
	// Fork makes PID as a child of Parent; Parent 0 is crtime itself.
	Fork Action = iota
	// NewSession lets PID call setsid.
	NewSession
	// SetGroup lets PID join, or found if they are equal, the process group Group.
	SetGroup
	// AdoptOrphans makes PID a subreaper, so that it becomes the parent of what a
	// helper leaves behind. PID 0 is crtime itself.
	AdoptOrphans
	// StopAdopting takes that back. It is for the time of the births alone: whether
	// a process is a subreaper for good is set by Prepare.
	StopAdopting
	// EndHelper ends the helper PID, which Parent collects (0: crtime). Its
	// children then have the parent that they are to have.
	EndHelper
	// NewKeyring gives PID a session keyring that it shares with nobody but the
	// children that it forks from then on.
	NewKeyring
	// Exit ends PID, which stays a zombie with the wait status Status.
	Exit
)

// String names the action.
func (a Action) String() string {
	names := [...]string{"fork", "new session", "set group", "adopt orphans", "stop adopting", "end helper", "new keyring", "exit"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("action %d", int(a))
	}
	return names[a]
}

// Step is one step of making a tree.
type Step struct {
	Action Action
	PID    int
	Parent int    // Fork, EndHelper.
	Group  int    // SetGroup.
	Status uint32 // Exit.
	Name   string // Exit: what the process was called.
	Helper bool   // Fork: PID is no process of the tree; its memory does not matter.
}

// String says it in a few words.
func (s Step) String() string {
	switch s.Action {
	case Fork:
		kind := ""
		if s.Helper {
			kind = "helper "
		}
		return fmt.Sprintf("fork %s%d from %d", kind, s.PID, s.Parent)
	case SetGroup:
		return fmt.Sprintf("set group of %d to %d", s.PID, s.Group)
	case EndHelper:
		return fmt.Sprintf("end helper %d of %d", s.PID, s.Parent)
	case Exit:
		return fmt.Sprintf("exit %d with %#x", s.PID, s.Status)
	default:
		return fmt.Sprintf("%s %d", s.Action, s.PID)
	}
}

// outside stands for a session or group whose leader is not in crtime's pid
// namespace. The kernel calls them all 0 there; in a plan 0 means none.
const outside = -1

// Origin is where a restored tree starts from: crtime's own session and group.
type Origin struct {
	SID, PGID int // May be outside.
	// ShellJob puts those processes that were in the session of the root's
	// terminal, whose leader is not in the tree, into crtime's session and group.
	ShellJob bool
	// Adopts says that crtime adopts orphans anyway, and is not to stop it.
	Adopts bool
	// Taken reports whether a process number is in use on this machine. nil: none.
	Taken func(pid int) bool
}

// Here is the Origin of the calling process.
func Here(shellJob bool) (Origin, error) {
	sid, err := unix.Getsid(0)
	if err != nil {
		return Origin{}, fmt.Errorf("crtime's own session: %w", err)
	}
	var adopts int32
	if err := prctlGet(unix.PR_GET_CHILD_SUBREAPER, &adopts); err != nil {
		return Origin{}, fmt.Errorf("whether crtime adopts orphans: %w", err)
	}
	pgid := unix.Getpgrp()
	if sid == 0 {
		sid = outside
	}
	if pgid == 0 {
		pgid = outside
	}
	return Origin{
		SID: sid, PGID: pgid, ShellJob: shellJob, Adopts: adopts != 0,
		Taken: func(pid int) bool {
			// Thread numbers are found there too, though they are not listed.
			_, err := os.Lstat(fmt.Sprintf("/proc/%d", pid))
			return err == nil
		},
	}, nil
}

// TreeError says why a process cannot get its parent, session or group again.
type TreeError struct {
	PID int
	Why string
}

// Error says it in one sentence.
func (e *TreeError) Error() string {
	return fmt.Sprintf("process %d cannot be put back into its place in the tree: %s", e.PID, e.Why)
}

// Births plans how the processes of s are made, so that each has its parent,
// session and group again; the errors are *TreeError.
//
// A process gets its session from its parent at birth, unless it founds its own.
// So a child is forked before or after its parent's setsid. One that is in
// neither of its parent's sessions was adopted: it is forked by a helper which
// then ends, and becomes the child of the nearest ancestor that adopts orphans.
// There is a plan for every tree whose subreapers were such to the end.
// A group whose leader is gone is founded by a helper as well, and so is the session
// that the images call 0: its leader was outside the tree's pid namespace, so it has
// no number that could be given back, and gets any. The root gets a
// session keyring of its own, and so does who had another one than its parent. Every helper has
// ended when the last step is done, and every Fork comes after the steps that
// its parent needs.
func Births(s *criuimg.Set, from Origin) ([]Step, error) {
	p, err := newPlan(s, from)
	if err != nil {
		return nil, err
	}
	p.chooseCradles()
	if err := p.bearRoot(); err != nil {
		return nil, err
	}
	if err := p.adoptAll(); err != nil {
		return nil, err
	}
	if err := p.joinGroups(); err != nil {
		return nil, err
	}
	// A zombie keeps its number and its group until it is collected, so the
	// others may need it until here; children first, as their parents adopt
	// nothing then.
	for _, m := range slices.Backward(p.members) {
		if m.zombie {
			p.do(Step{Action: Exit, PID: m.pid, Status: m.status, Name: m.name})
		}
	}
	return p.steps, nil
}

// nobodys is a number that no process has: the kernel's PID_MAX_LIMIT is 1 << 22.
const nobodys = 1 << 30

// CheckBirths reports whether there is a plan at all for the processes of s, wherever they
// are restored; the errors are those of Births.
func CheckBirths(s *criuimg.Set, shellJob bool) error {
	_, err := Births(s, Origin{SID: nobodys, PGID: nobodys, ShellJob: shellJob, Adopts: true})
	return err
}

// member is a process of the tree in the planning.
type member struct {
	pid, sid, pgid int
	parent         *member // nil: the root.
	children       []*member
	zombie         bool
	status         uint32
	name           string
	cradle         int    // A leader's session at birth, as far as it is decided; 0: any.
	keyring        uint64 // Which session keyring it had; 0: not known.
}

// plan is what Births works on.
type plan struct {
	from      Origin
	members   []*member // Parents before children.
	byPID     map[int]*member
	inSession map[int][]*member // By their sessions.
	leaders   []*member         // Who lead one.
	used      map[int]bool      // Numbers of the tree: processes, threads, sessions, groups.
	threads   map[int]int       // Processes by the numbers of their further threads.
	born      map[int]bool      // Processes and helpers whose fork is planned.
	steps     []Step
	holders   []Step // The ends of the helpers that hold groups.
}

func (p *plan) do(s Step) {
	if s.Action == Fork {
		p.born[s.PID] = true
	}
	p.steps = append(p.steps, s)
}

// newPlan reads the tree.
func newPlan(s *criuimg.Set, from Origin) (*plan, error) {
	p := &plan{from: from, byPID: map[int]*member{}, used: map[int]bool{}, threads: map[int]int{}, born: map[int]bool{}, inSession: map[int][]*member{}}
	for _, e := range s.Tree {
		m := &member{pid: int(e.GetPid()), sid: int(e.GetSid()), pgid: int(e.GetPgid())}
		if image := s.Process[e.GetPid()]; image != nil && image.Zombie() {
			m.zombie = true
			m.status, m.name = image.Core.GetTc().GetExitCode(), image.Core.GetTc().GetComm()
		} else if image != nil {
			m.keyring, _ = extra.Value(image.Core.GetTc(), fieldKeyring)
		}
		if len(p.members) > 0 {
			m.parent = p.byPID[int(e.GetPpid())]
			if m.parent == nil {
				return nil, &TreeError{m.pid, fmt.Sprintf("its parent %d is not in the images", e.GetPpid())}
			}
			if m.parent.zombie {
				return nil, &TreeError{m.pid, fmt.Sprintf("its parent %d is a zombie", m.parent.pid)}
			}
			m.parent.children = append(m.parent.children, m)
		}
		ledFromOutside := m.sid == 0 && m.pgid >= 0
		if m.pid <= 0 || (m.sid <= 0 || m.pgid <= 0) && !ledFromOutside || p.byPID[m.pid] != nil {
			return nil, &TreeError{m.pid, fmt.Sprintf("the images say process %d, session %d, group %d", m.pid, m.sid, m.pgid)}
		}
		for _, n := range []int{m.pid, m.sid, m.pgid} {
			p.used[n] = true
		}
		if !m.zombie {
			for _, tid := range e.GetThreads() {
				p.used[int(tid)] = true
				if int(tid) != m.pid {
					p.threads[int(tid)] = m.pid
				}
			}
		}
		p.members = append(p.members, m)
		p.byPID[m.pid] = m
	}
	if len(p.members) == 0 {
		return nil, &TreeError{0, "the images hold no process"}
	}
	if from.ShellJob {
		p.joinShell()
	}
	if err := p.nameOutside(); err != nil {
		return nil, err
	}
	p.sortBySession()
	return p, nil
}

// sortBySession fills inSession and leaders, when every session has its number.
func (p *plan) sortBySession() {
	for _, m := range p.members {
		p.inSession[m.sid] = append(p.inSession[m.sid], m)
		if m.leads() {
			p.leaders = append(p.leaders, m)
		}
	}
}

// nameOutside gives the session that the images call 0 a number, which its first
// group, if that is called 0 as well, shares.
func (p *plan) nameOutside() error {
	n := 0
	for _, m := range p.members {
		if m.sid != 0 {
			continue
		}
		if n == 0 {
			var err error
			if n, err = p.number(); err != nil {
				return err
			}
		}
		m.sid = n
		if m.pgid == 0 {
			m.pgid = n
		}
	}
	return nil
}

// joinShell replaces the session and group of the shell that the tree was
// started from by crtime's own, as CRIU's --shell-job does.
func (p *plan) joinShell() {
	root := p.members[0]
	if root.sid == root.pid {
		return
	}
	oldSID, oldPGID := root.sid, root.pgid
	for _, m := range p.members {
		if m.sid == oldSID {
			m.sid = p.from.SID
		}
		if (m.pgid == oldPGID || m.pgid == oldSID) && p.byPID[m.pgid] == nil {
			m.pgid = p.from.PGID
		}
	}
}

// number finds a process number for a helper that may have any.
func (p *plan) number() (int, error) {
	const most = 32767 // The smallest pid_max that systems have.
	for n := most; n > 300; n-- {
		if !p.used[n] && !p.taken(n) {
			p.used[n] = true
			return n, nil
		}
	}
	return 0, &TreeError{0, "no process number is free for a helper"}
}

func (p *plan) taken(pid int) bool { return p.from.Taken != nil && p.from.Taken(pid) }
