// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/crtime/crtime/internal/proc"
)

// Freeze stops every thread of every process of the tree below root, and
// returns when none of them can run or make a new one. Processes that the tree
// had and lost meanwhile, by an orderly end or SIGKILL, are not part of it.
//
// Every thread is in an Interrupted stop or a GroupStop then. Signals that came
// in between have been delivered, or wait. A process that was in vfork has come
// back from it.
//
// The errors are those of Seize; ErrSelf also when crtime is a member of the
// tree; ErrLeaderEnded; and a *StuckError when ctx ends while a thread does not
// stop. After an error everything that was stopped runs on, as Tracer.Mend leaves it.
func (t *Tracer) Freeze(ctx context.Context, root int) (*Tree, error) {
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	f := &freezer{t: t, known: make(map[int]*member), held: make(map[*Thread]bool)}
	tree, err := f.freeze(ctx, root)
	if err != nil {
		return nil, errors.Join(err, f.release())
	}
	return tree, nil
}

// checkRoot looks at the root before anything is touched.
func checkRoot(root int) error {
	status, err := proc.ReadStatus(root)
	if err != nil {
		return fmt.Errorf("process %d: %w", root, err)
	}
	if status.ThreadGroup != root {
		return fmt.Errorf("%d is a thread of process %d: name the process", root, status.ThreadGroup)
	}
	for pid := os.Getpid(); pid != 0; {
		if pid == root {
			return fmt.Errorf("process %d: %w", root, ErrSelf)
		}
		st, err := proc.ReadStat(pid)
		if errors.Is(err, ErrGone) {
			break // An ancestor that ended just now is not the root, which exists.
		}
		if err != nil {
			return err
		}
		pid = st.PPID
	}
	return nil
}

// freezer stops a tree from the root downward, one generation at a time: all
// processes of a generation are stopped at once, and only when they stand still
// is it asked which children they have. A child of vfork, whose parent cannot
// stop before it has called exec, runs on by that until it has.
//
// Few files are read, but the proof is whole. The threads of a process are all
// known once a listing names only such as are stopped: nobody else makes threads
// of it. Its children are all known if it has none when its threads stand
// still: whoever could add one (by CLONE_PARENT, or by leaving it an orphan) is
// a descendant. The children of all others are listed again, when everything
// that is known stands still, until two rounds agree.
type freezer struct {
	t       *Tracer
	known   map[int]*member  // By pid.
	order   []*member        // As they were found.
	running []*Thread        // What has been told to stop and has not yet.
	held    map[*Thread]bool // All that was attached here; false: to be let go at its first stop.
}

// member is one process of the tree.
type member struct {
	pid      int
	children []int
	threads  []*Thread // Leader first.
	refused  bool      // The first try to attach the leader failed.
	ended    bool      // The leader cannot be traced any more.
	zombie   bool
	gone     bool
}

// add notes a process that was found.
func (f *freezer) add(pid int) *member {
	m := &member{pid: pid}
	f.known[pid] = m
	f.order = append(f.order, m)
	return m
}

// freeze does the work of Freeze.
func (f *freezer) freeze(ctx context.Context, root int) (*Tree, error) {
	top := f.add(root)
	for fresh := f.order; ; {
		if err := f.stop(ctx, fresh); err != nil {
			return nil, err
		}
		if top.gone || top.zombie {
			return nil, fmt.Errorf("process %d has ended: %w", root, ErrGone)
		}
		next, _, err := f.look(fresh)
		if err != nil {
			return nil, err
		}
		if len(next) == 0 {
			var same bool
			if next, same, err = f.look(f.parents()); err != nil {
				return nil, err
			}
			if same {
				return f.tree(top)
			}
		}
		fresh = next
	}
}

// parents are the processes that had children when they were looked at.
func (f *freezer) parents() []*member {
	var all []*member
	for _, m := range f.order {
		if len(m.children) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// look lists the children of processes that stand still. fresh are those that
// were not known; same says that all lists are as they were.
func (f *freezer) look(at []*member) (fresh []*member, same bool, err error) {
	same = true
	for _, m := range at {
		now, err := m.childrenNow()
		if err != nil {
			return nil, false, err
		}
		if slices.Equal(now, m.children) {
			continue
		}
		same, m.children = false, now
		for _, pid := range now {
			if known := f.known[pid]; known == nil || known.gone {
				fresh = append(fresh, f.add(pid))
			}
		}
	}
	return fresh, same, nil
}

// childrenNow lists the children of a process; one that has ended has none.
func (m *member) childrenNow() ([]int, error) {
	var all []int
	for _, th := range m.threads {
		pids, err := proc.Children(m.pid, th.TID)
		if errors.Is(err, ErrGone) {
			if err = childless(m.pid, th.TID); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list the children of process %d: %w", m.pid, err)
		}
		all = append(all, pids...)
	}
	return all, nil
}

// childless tells a thread that is gone, which is no error, from a kernel that
// has no lists of children.
func childless(pid, tid int) error {
	dir := fmt.Sprintf("/proc/%d/task/%d/", pid, tid)
	if _, err := os.Stat(dir + "children"); err == nil {
		return nil
	}
	if _, err := os.Stat(dir + "stat"); err != nil {
		return nil //nolint:nilerr // That it is not there is the answer.
	}
	return fmt.Errorf("%w: the kernel does not list the children of threads (CONFIG_PROC_CHILDREN)", ErrUnsupported)
}

// tree puts together what can be reached from the root, and lets the rest go:
// orphans that another process has inherited meanwhile.
func (f *freezer) tree(top *member) (*Tree, error) {
	// Not before it stands still: in the middle of an exec the answer is 0.
	st, err := proc.ReadStat(top.pid)
	if err != nil {
		return nil, err
	}
	tr := &Tree{}
	type link struct {
		*member
		parent int
	}
	seen := make(map[*member]bool)
	inside := make(map[*Thread]bool)
	for queue := []link{{top, st.PPID}}; len(queue) > 0; queue = queue[1:] {
		m := queue[0]
		if m.gone || seen[m.member] {
			continue
		}
		seen[m.member] = true
		p := &Process{PID: m.pid, PPID: m.parent, Zombie: m.zombie, Threads: m.threads}
		if err := p.settleGroupStop(); err != nil {
			return nil, err
		}
		p.stopped = p.Stopped()
		tr.Processes = append(tr.Processes, p)
		for _, th := range m.threads {
			inside[th] = true
		}
		for _, pid := range m.children {
			queue = append(queue, link{f.known[pid], m.pid})
		}
	}
	var errs []error
	for th := range f.held {
		if !inside[th] && !th.gone {
			errs = append(errs, th.release())
		}
	}
	return tr, errors.Join(errs...)
}

// release lets go everything that was attached. What cannot be stopped for that
// is let go by the kernel when the tracer ends.
func (f *freezer) release() error {
	var errs []error
	for th := range f.held {
		err := th.release()
		if errors.Is(err, ErrNotStopped) {
			th.forget()
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
