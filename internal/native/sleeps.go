// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/native/waits"
	"github.com/crtime/crtime/internal/proc"
)

// sleeps tells how long the threads of a stopped tree had still to sleep. It looks at
// them twice: while they sleep, for what a stop makes the kernel forget, and when they
// stand.
type sleeps struct {
	log     *zap.Logger
	clocks  *hostclock.Reader
	reader  *waits.Reader // nil: nobody has had to ask the kernel, or it cannot be asked.
	refused error         // Why it cannot be asked.
	before  map[int]waits.Thread
	begun   int64 // CLOCK_MONOTONIC of the host at the first look.
	stopped map[int]waits.Thread
	frozen  instant // By the host's clocks; nil until stop.
}

// askOfSleeps prepares to look at a tree.
func askOfSleeps(log *zap.Logger, tree *proc.Snapshot) (*sleeps, error) {
	s := &sleeps{log: log}
	var err error
	if s.clocks, err = hostclock.NewReader(); err != nil {
		return nil, err
	}
	s.openIfLimited(tree)
	return s, nil
}

// openIfLimited makes ready to ask the kernel if a thread sleeps, unless that was done.
func (s *sleeps) openIfLimited(tree *proc.Snapshot) {
	if s.reader == nil && s.refused == nil && sleepsLimited(tree) {
		s.reader, s.refused = waits.Open(len(tree.Tasks))
	}
}

// look takes the first look, if a thread sleeps. Where the kernel cannot be asked it says
// so in the log.
func (s *sleeps) look(tree *proc.Snapshot) {
	s.openIfLimited(tree) // It may have begun during the survey.
	if s.refused != nil {
		s.log.Warn("sleeping threads go on with an estimate of what was left of their time", zap.Error(s.refused))
	}
	if s.reader == nil {
		return
	}
	var pids []int
	for _, task := range tree.Tasks {
		pids = append(pids, task.PID)
	}
	now, err := s.clocks.Read()
	if err == nil {
		s.begun = int64(now.Monotonic)
		s.before, err = s.reader.Read(pids)
	}
	if err != nil {
		s.log.Warn("look at the sleeping threads", zap.Error(err))
	}
}

// sleepsLimited reports whether a thread is in a call of which the kernel must be
// asked how long it still waits. A call that begins right after that is not much
// further than its beginning at the freeze.
func sleepsLimited(tree *proc.Snapshot) bool {
	for _, task := range tree.Tasks {
		for _, tid := range task.Threads {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", task.PID, tid))
			if err != nil {
				continue
			}
			number, args, _ := strings.Cut(string(text), " ")
			nr, err := strconv.ParseInt(number, 10, 64)
			if err == nil && (tasks.MayBeLimited(nr) || tasks.MayWaitForSocket(nr) && limitedSocket(task.PID, args)) {
				return true
			}
		}
	}
	return false
}

// limitedSocket reports whether the first argument of a thread's system call is a
// descriptor of a socket that has a time limit.
func limitedSocket(pid int, args string) bool {
	first, _, _ := strings.Cut(args, " ")
	fd, err := strconv.ParseUint(strings.TrimPrefix(first, "0x"), 16, 31)
	if err != nil {
		return false
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil || !strings.HasPrefix(link, "socket:") {
		return false
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, int(fd), 0)
	if err != nil {
		return false
	}
	defer unix.Close(socket)
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if limit, err := unix.GetsockoptTimeval(socket, unix.SOL_SOCKET, option); err == nil && limit.Nano() != 0 {
			return true
		}
	}
	return false
}

// close gives up what was needed to look.
func (s *sleeps) close() error {
	if s.reader == nil {
		return nil
	}
	return s.reader.Close()
}

// stop takes the second look, at a tree that stands still since the clocks read frozen.
// kept tells whether the kernel has kept a deadline of some thread: then it is asked also
// if none slept at the first look.
func (s *sleeps) stop(pids []int, frozen clockstate.HostReading, kept func() bool) {
	s.frozen = hostInstant(frozen)
	var err error
	if s.reader == nil && s.refused == nil && kept() {
		if s.reader, err = waits.Open(len(pids)); err != nil {
			s.log.Warn("a sleep ends early, with EINTR", zap.Error(err))
		}
	}
	if s.reader == nil {
		return
	}
	if s.stopped, err = s.reader.Read(pids); err != nil {
		s.log.Warn("look at the sleeping threads again", zap.Error(err))
	}
}

// rest implements tasks.Rests.
func (s *sleeps) rest(tid int, limit tasks.Limit, whole int64) (tasks.Rest, bool) {
	if s.frozen == nil {
		return tasks.Rest{}, false // The dump has failed before anything was counted.
	}
	before, stopped := s.before[tid], s.stopped[tid]
	kept := map[tasks.Limit]waits.Deadline{
		tasks.SleepLimit: stopped.Sleep, tasks.PollLimit: stopped.Poll, tasks.FutexLimit: stopped.Futex,
	}[limit]
	var rest tasks.Rest
	var ok bool
	switch {
	case kept.Known() && s.same(before, stopped) && before.Timer.Fuzz == 0 &&
		kept.At >= before.Timer.At && kept.At-before.Timer.At <= usualSlack:
		rest, ok = s.until(before.Timer)
	case kept.Known():
		rest, ok = s.until(kept)
	case s.same(before, stopped):
		rest, ok = s.until(before.Timer)
	case whole > 0 && s.before != nil:
		// It began after the first look.
		passed := s.frozen.of(unix.CLOCK_MONOTONIC) - s.begun
		rest, ok = tasks.Rest{Clock: unix.CLOCK_MONOTONIC, Left: whole, Fuzz: min(whole, passed)}, true
	case whole > 0:
		rest, ok = tasks.Rest{Clock: unix.CLOCK_MONOTONIC, Left: whole, Fuzz: whole}, true
	}
	if ok {
		s.log.Debug("what was left of a wait", zap.Int("tid", tid), zap.Int32("clock", rest.Clock),
			zap.Duration("left", time.Duration(rest.Left)), zap.Duration("fuzz", time.Duration(rest.Fuzz)))
	}
	return rest, ok
}

// usualSlack is by how much later than asked the kernel lets most sleeps end. What it
// keeps of a nanosleep includes it.
const usualSlack = 50_000 // Nanoseconds.

// same reports whether a thread that was interrupted in a call slept in the same one
// at the first look. Giving up its processor a second time says no: the first was for
// the tracer. A call that began right before the stop may not have got as far as that;
// but if it came when the time of the one before was over, that is known. (A call that
// ends with its time is not interrupted.)
func (s *sleeps) same(before, stopped waits.Thread) bool {
	return before.Switches != 0 && stopped.Switches-before.Switches <= 1 &&
		before.Timer.Known() && before.Timer.At > s.frozen[before.Timer.Clock]-before.Timer.Fuzz
}

// restarts is the number of the call that restart_syscall goes on with in a thread
// with these registers; -1 if it is in another call, or nobody can tell.
func (s *sleeps) restarts(tid int, regs *ptrace.Registers) int64 {
	stopped, ok := s.stopped[tid]
	if !ok || regs.SyscallNumber() != unix.SYS_RESTART_SYSCALL {
		return -1
	}
	// The registers of its arguments are as they were.
	const remainder = 3
	switch stopped.Restarts {
	case waits.Sleep:
		if regs.Args()[remainder] == stopped.Remainder && stopped.Remainder != 0 {
			return unix.SYS_CLOCK_NANOSLEEP
		}
		return unix.SYS_NANOSLEEP
	case waits.Poll:
		return tasks.SysPoll
	case waits.Futex:
		return unix.SYS_FUTEX
	default:
		return -1
	}
}

// left says how much of a rest is left now that the tree has stood for a while.
func (s *sleeps) left(r tasks.Rest) int64 {
	now, err := s.clocks.Read()
	if err != nil {
		return r.Left
	}
	return r.Left - (hostInstant(now).of(r.Clock) - s.frozen.of(r.Clock))
}

// until is what is left until a deadline, at the freeze.
func (s *sleeps) until(d waits.Deadline) (tasks.Rest, bool) {
	now, ok := s.frozen[d.Clock]
	return tasks.Rest{Clock: d.Clock, Left: d.At - now, Fuzz: d.Fuzz}, ok
}
