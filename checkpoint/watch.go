// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/doors"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/urgent"
)

// freeze is what is known about the freeze instant.
type freeze struct {
	reading  clockstate.HostReading
	source   clockstate.FreezeSource
	snapshot *proc.Snapshot
	// window is how much later than the last thread's stop the reading can be.
	window clockstate.Nanos
}

// watcher looks for the freeze instant while an engine stops the tree: CRIU
// gives no sign between stopping a tree that shares the host's network and the
// end of its dump.
type watcher struct {
	root   int
	clocks *hostclock.Reader
	chill  chill
	doors  *doors.Doors  // nil: CRIU does not wait for us.
	looks  atomic.Int64  // How often chill has been told of a scan.
	ended  chan struct{} // Closed when there will be no more scans.
	stop   chan struct{}
	found  chan *freeze // Receives one value, nil if the instant was not seen.
}

// watch begins to watch the tree below root, which may be in a control group that is
// frozen first; "": it is in none.
func watch(root int, freezeCgroup string, clocks *hostclock.Reader) *watcher {
	w := &watcher{root: root, clocks: clocks, chill: chill{group: newFreezer(freezeCgroup)}, ended: make(chan struct{}), stop: make(chan struct{}), found: make(chan *freeze, 1)}
	if w.chill.group != nil {
		// CRIU opens a group's folder, to look for groups below, when it has traced the
		// threads in it, and thaws the group when it is through: some 100 us later, which we
		// would often miss. Without doors the freeze is less certain.
		w.doors, _ = doors.Watch(w.chill.group.dirs, w.waitLooks)
	}
	go urgent.Do(w.run)
	return w
}

// waitLooks returns after enough scans for the group to be seen frozen, and every thread
// with a tracer, if both hold now; or when the watch ends.
func (w *watcher) waitLooks() {
	const (
		// The first may have begun before; the second finds the group frozen; the third
		// asks for tracers.
		enough  = 3
		longest = time.Second
		pause   = 50 * time.Microsecond
	)
	begun := time.Now()
	for start := w.looks.Load(); w.looks.Load() < start+enough && time.Since(begun) < longest; {
		select {
		case <-w.ended:
			return
		default:
			time.Sleep(pause)
		}
	}
}

// run scans until the tree stands still or result is asked for.
func (w *watcher) run() {
	defer w.end()
	pause := pacer{}
	var before *proc.Snapshot
	lastMoving, err := w.clocks.Read()
	if err != nil {
		w.found <- nil
		return
	}
	for {
		select {
		case <-w.stop:
			w.found <- nil
			return
		default:
		}
		started, err := w.clocks.Read()
		if err != nil {
			w.found <- nil
			return
		}
		frozen := w.chill.group != nil && w.chill.group.frozen()
		now, err := proc.Scan(w.root)
		if err != nil {
			// The tree is gone; the engine will say so.
			w.found <- nil
			return
		}
		w.chill.look(frozen, now, func() *freeze { return w.record(now, lastMoving) })
		w.looks.Add(1)
		if before != nil && now.AllStopped && now.Same(before) {
			w.found <- w.chill.instead(w.record(now, lastMoving))
			return
		}
		before = nil
		if now.AllStopped {
			before = now
			continue
		}
		lastMoving = started
		pause.wait()
	}
}

// end lets go on who waits for the watcher.
func (w *watcher) end() {
	close(w.ended)
	if w.doors != nil {
		// What is not closed is closed with this process.
		_ = w.doors.Close()
	}
}

// record reads the clocks of a tree that stands still.
func (w *watcher) record(s *proc.Snapshot, lastMoving clockstate.HostReading) *freeze {
	r, err := w.clocks.Read()
	if err != nil {
		return nil
	}
	return &freeze{
		reading:  r,
		source:   clockstate.FreezeWatched,
		snapshot: s,
		window:   r.Monotonic - lastMoving.Monotonic,
	}
}

// result ends the watch and returns what it found, or nil.
func (w *watcher) result() *freeze {
	close(w.stop)
	return <-w.found
}

// pacer spaces scans out, since the watcher runs before every ordinary thread,
// the engine's included: it sleeps about as long as it works, and most of the
// time once freezing takes long, as with a process that is stuck in the kernel.
type pacer struct{ scans int }

// wait sleeps until the next scan is due.
func (p *pacer) wait() {
	const (
		eager = 2000
		short = 40 * time.Microsecond
		long  = 500 * time.Microsecond
	)
	pause := short
	if p.scans++; p.scans > eager {
		pause = long
	}
	urgent.Sleep(pause)
}

// confirm checks, with the engine done and the tree still stopped, that what
// the watcher saw was the freeze: the same threads, all stopped still. Where it
// was not, or the watcher saw nothing, the clocks are read now: later than the
// freeze, so MONOTONIC will jump forward by the difference, but never too early.
func confirm(root int, seen *freeze, clocks *hostclock.Reader) (*freeze, error) {
	now, err := proc.Scan(root)
	if err != nil {
		return nil, fmt.Errorf("confirm that the tree is stopped: %w", err)
	}
	again, err := proc.Scan(root)
	if err != nil {
		return nil, fmt.Errorf("confirm that the tree is stopped: %w", err)
	}
	if !now.AllStopped || !again.AllStopped || !now.Same(again) {
		return nil, fmt.Errorf("the tree below process %d is not stopped although its engine says so", root)
	}
	if seen != nil && seen.snapshot.Same(again) {
		return seen, nil
	}
	r, err := clocks.Read()
	if err != nil {
		return nil, err
	}
	return &freeze{reading: r, source: clockstate.FreezeConfirmed, snapshot: again}, nil
}
