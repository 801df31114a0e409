// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/proc"
)

// patience is how long a thread may run before somebody asks whether it lives.
const patience = 20 * time.Millisecond

// wait is th.Wait for a thread of the process, whatever comes.
func (r *Runner) wait(th *ptrace.Thread) (ptrace.Stop, error) {
	// What is not guarded is not left waiting for others.
	if r.pause != nil && r.Guarded() {
		r.pause()
		// Most have stopped meanwhile.
		if s, stopped, err := th.Poll(); stopped || err != nil {
			return s, err
		}
	}
	if th != r.leader || r.alone {
		return th.Wait()
	}
	return waitFirst(th)
}

// waitFirst is th.Wait that does not wait for ever for the first thread of a
// process that was killed. The kernel reports its end only after that of all
// others, and theirs to nobody but who waits for them, which the tracer's thread
// does not do while it waits for the first. There may be some that nobody knows
// of: the process was killed as it made them.
func waitFirst(th *ptrace.Thread) (ptrace.Stop, error) {
	w := &watch{pid: th.TID}
	w.mu.Lock()
	w.timer = time.AfterFunc(patience, w.look)
	w.mu.Unlock()
	defer w.end()
	return th.Wait()
}

// watch looks after a process from time to time, on a thread that is not the
// tracer's.
type watch struct {
	pid int

	mu    sync.Mutex // Guards what follows.
	timer *time.Timer
	over  bool
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		collectDead(w.pid)
		w.timer.Reset(patience)
	}
}

func (w *watch) end() {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// collectDead takes the ends of a process's other threads if the first one has
// ended. It is called on any thread of crtime. Whoever waits for them later
// learns that they are gone.
func collectDead(pid int) {
	if !ended(pid) {
		return
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return // It is gone.
	}
	for _, e := range entries {
		// A thread that has ended has no other news, and keeps its number until
		// somebody has waited for it.
		if tid, err := strconv.Atoi(e.Name()); err == nil && tid != pid && ended(tid) {
			_, _ = unix.Wait4(tid, nil, unix.WALL|unix.WNOHANG, nil)
		}
	}
}

// ended says whether a thread has ended and nobody has waited for it yet.
func ended(tid int) bool {
	st, err := proc.ReadStat(tid)
	return err == nil && (st.State == proc.Zombie || st.State == proc.Dead)
}
