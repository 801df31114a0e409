// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/proc"
)

// stop stops all threads of some processes. Those that turn out to be zombies,
// or gone, are marked so.
func (f *freezer) stop(ctx context.Context, all []*member) error {
	if ctx.Err() != nil {
		return fmt.Errorf("after %d processes were found: %w", len(f.order), context.Cause(ctx))
	}
	// The newest first: a process that is about to end after it has made the next
	// one is not caught among the zombies that its like have left.
	for _, m := range slices.Backward(all) {
		if err := f.stopLeader(m); err != nil {
			return err
		}
	}
	for len(all) > 0 {
		if err := f.await(ctx); err != nil {
			return err
		}
		if f.t.StandsStill != nil {
			f.t.StandsStill(f.standing())
		}
		var unsettled []*member
		for _, m := range all {
			settled, err := f.list(m)
			if err != nil {
				return err
			}
			if !settled {
				unsettled = append(unsettled, m)
			}
		}
		all = unsettled
	}
	return nil
}

// standing are the processes that have stopped, with those of their threads that are
// known: of one that has not been listed yet the first.
func (f *freezer) standing() []*Process {
	var all []*Process
	for _, m := range f.order {
		p := &Process{PID: m.pid}
		known := m.threads
		if leader := f.t.threads[m.pid]; len(known) == 0 && leader != nil {
			known = []*Thread{leader}
		}
		for _, th := range known {
			if th.stopped && !th.gone {
				p.Threads = append(p.Threads, th)
			}
		}
		if len(p.Threads) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// stopLeader tells the first thread of a process to stop. Why it cannot be told
// is found out later, by list.
func (f *freezer) stopLeader(m *member) error {
	if f.t.threads[m.pid] == nil {
		if m.refused = f.t.attach(m.pid, options) != nil; m.refused {
			return nil
		}
		f.t.Adopt(m.pid)
	}
	_, err := f.hold(m.pid)
	return ignoreGone(err)
}

// hold attaches a thread and tells it to stop.
func (f *freezer) hold(tid int) (*Thread, error) {
	th, err := f.t.Seize(tid)
	if err != nil {
		return nil, err
	}
	f.held[th] = true
	if th.Stopped() {
		return th, nil
	}
	// A process that is stopped by a signal reports so at once, and would keep an
	// interruption for when it is continued.
	s, news, err := th.Poll()
	if err != nil {
		return th, err
	}
	if !news {
		return th, f.interrupt(th)
	}
	done, err := f.handle(th, s)
	if !done {
		f.running = append(f.running, th)
	}
	return th, err
}

// interrupt tells a thread to stop. That it is gone shows when it is waited for.
func (f *freezer) interrupt(th *Thread) error {
	f.running = append(f.running, th)
	if err := th.Interrupt(); err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrNotStopped) {
		return err
	}
	return nil
}

// list looks which threads a process has, and stops those that do not stand
// still. settled says that there were none: the process is stopped, or has ended.
func (f *freezer) list(m *member) (settled bool, err error) {
	if m.refused {
		m.refused = false
		// Most are zombies, of which there can be many.
		if st, err := proc.ReadStat(m.pid); err == nil && st.State == proc.Zombie && st.NumThr == 1 {
			return true, f.bury(m)
		}
	}
	tids, err := proc.Threads(m.pid)
	if errors.Is(err, ErrGone) {
		m.gone, m.threads = true, nil
		return true, nil
	}
	if err != nil {
		return false, err
	}
	m.threads, m.ended = m.threads[:0], false
	settled = true
	for _, tid := range tids {
		th, still, err := f.thread(tid)
		switch {
		case errors.Is(err, ErrGone) && tid == m.pid:
			m.ended = true
		case errors.Is(err, ErrGone):
			// It ended after the list was made, or became the leader by exec.
			settled = false
		case err != nil:
			return false, fmt.Errorf("process %d: %w", m.pid, err)
		case tid == m.pid:
			m.threads = slices.Insert(m.threads, 0, th)
			settled = settled && still
		default:
			m.threads = append(m.threads, th)
			settled = settled && still
		}
	}
	if settled && m.ended {
		return f.judge(m)
	}
	return settled, nil
}

// thread finds out whether a thread is held and stands still, and tells it to
// stop otherwise.
func (f *freezer) thread(tid int) (th *Thread, still bool, err error) {
	th = f.t.threads[tid]
	if th == nil || !f.held[th] {
		th, err = f.hold(tid)
		return th, false, err
	}
	if !th.stopped {
		return th, false, nil
	}
	// A thread that was not held yet may have called exec: then the first thread
	// of the process is another one under the same number.
	if _, err := unix.PtraceGetEventMsg(tid); err == nil {
		return th, true, nil
	}
	th.stopped = false
	return th, false, f.interrupt(th)
}

// judge says what a process is whose first thread has ended and whose other
// threads, if there are any, stand still.
func (f *freezer) judge(m *member) (settled bool, err error) {
	if len(m.threads) > 0 {
		return false, fmt.Errorf("process %d: %w", m.pid, ErrLeaderEnded)
	}
	st, err := proc.ReadStat(m.pid)
	switch {
	case errors.Is(err, ErrGone):
		m.gone = true
	case err != nil:
		return false, err
	case st.State != proc.Zombie && st.State != proc.Dead:
		return false, nil // Another process with its number; it is looked at anew.
	default:
		return true, f.bury(m)
	}
	return true, nil
}

// bury notes that a process is a zombie.
func (f *freezer) bury(m *member) error {
	m.zombie, m.threads = true, nil
	// If it ended while it was attached, its parent learns of that only now.
	th := f.t.Adopt(m.pid)
	_, _, err := th.Poll()
	if !th.gone {
		th.forget()
	}
	return ignoreGone(err)
}
