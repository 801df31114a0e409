// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"
	"math"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/ptrace"
	"github.com/crtime/crtime/internal/native/remote"
)

// Limit says which of the kernel's records tells when an interrupted system call is
// to end.
type Limit int

// The limits of calls: of none, or one that is a moment which the call itself names; of
// a relative sleep; of poll; of a relative wait for a futex; and of those of which only
// the timer tells that was to wake the thread before it was stopped, the last of which
// have the limit of their socket.
const (
	NoLimit Limit = iota
	SleepLimit
	PollLimit
	FutexLimit
	TimerLimit
	SocketLimit
)

// Rest is how long an interrupted call had still to wait at the freeze.
type Rest struct {
	Clock int32 // On which it waits: CLOCK_*, as the tree reads it.
	Left  int64 // In nanoseconds. Not positive: its time was over.
	Fuzz  int64 // How much more or less it can be, in nanoseconds.
}

// valid says whether a restore can count on it.
func (r Rest) valid() bool {
	switch r.Clock {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_REALTIME, unix.CLOCK_TAI:
		return r.Fuzz >= 0
	default:
		return false
	}
}

// Rests tells how long the call that thread tid was stopped in had still to wait.
// whole is the time limit that the call began with, in nanoseconds, 0 if that is not
// known. ok is false if nobody can tell.
type Rests func(tid int, limit Limit, whole int64) (rest Rest, ok bool)

// limited classifies a call.
func (c *call) limited() Limit {
	switch c.result {
	case restartBlocked:
		switch {
		case c.number == unix.SYS_NANOSLEEP, c.number == unix.SYS_CLOCK_NANOSLEEP:
			return SleepLimit
		case c.number == SysPoll:
			return PollLimit
		case c.number == unix.SYS_FUTEX && c.args[1]&futexCommand == futexWait:
			return FutexLimit
		}
	case restartNoHand, -int64(unix.EINTR):
		if c.limitArgument() >= 0 {
			return TimerLimit
		}
		if MayWaitForSocket(c.number) {
			return SocketLimit
		}
	}
	return NoLimit
}

// MayBeLimited reports whether a call with this number can have a time limit of
// which only the kernel knows how much is left.
func MayBeLimited(nr int64) bool {
	switch nr {
	case unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, SysPoll, unix.SYS_FUTEX, unix.SYS_RESTART_SYSCALL,
		unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_SEMTIMEDOP, unix.SYS_RT_SIGTIMEDWAIT,
		unix.SYS_PPOLL, sysSelect, unix.SYS_PSELECT6:
		return true
	default:
		return isEpollWait(nr)
	}
}

// Of the second argument of futex(2).
const (
	futexCommand    = 0x7f
	futexWait       = 0
	futexWaitBitset = 9
)

// limitArgument is the number of the argument that limits a call of which the kernel
// keeps nothing when it is interrupted; -1 if it has none.
func (c *call) limitArgument() int {
	i := -1
	switch nr := c.number; {
	case isEpollWait(nr), nr == unix.SYS_EPOLL_PWAIT, nr == unix.SYS_EPOLL_PWAIT2, nr == unix.SYS_SEMTIMEDOP:
		i = 3
	case nr == unix.SYS_RT_SIGTIMEDWAIT, nr == unix.SYS_PPOLL:
		i = 2
	case nr == sysSelect, nr == unix.SYS_PSELECT6:
		i = 4
	}
	if i < 0 || c.inMillis() && int32(c.args[i]) < 0 || !c.inMillis() && c.args[i] == 0 {
		return -1
	}
	return i
}

// keepsLimit says that the kernel has written what was left where the limit came from.
func (c *call) keepsLimit() bool {
	return c.number == sysSelect || c.number == unix.SYS_PSELECT6 || c.number == unix.SYS_PPOLL
}

// inMillis says that the limit is a number of milliseconds, and not in memory.
func (c *call) inMillis() bool { return isEpollWait(c.number) || c.number == unix.SYS_EPOLL_PWAIT }

// whole is the limit that the call began with, in nanoseconds; 0: it is not known.
func (c *call) whole() int64 {
	switch {
	case c.number == SysPoll:
		return int64(int32(c.args[2])) * nanosPerMilli
	case c.inMillis() && c.limitArgument() >= 0:
		return int64(int32(c.args[c.limitArgument()])) * nanosPerMilli
	default:
		return 0
	}
}

const (
	nanosPerMicro  = 1_000
	nanosPerMilli  = 1_000_000
	nanosPerSecond = 1_000_000_000
)

// millis is a time in milliseconds, as a call takes it. Waking too early would be
// wrong, too late by less than one is not.
func millis(left int64) uint64 {
	switch {
	case left <= 0:
		return 0
	case left > math.MaxInt32*nanosPerMilli:
		return math.MaxInt32
	default:
		return uint64((left + nanosPerMilli - 1) / nanosPerMilli)
	}
}

// timespec is struct timespec of a time that is left. A call with none left returns
// without an interruption; the least there is keeps its result that of a call which
// has waited.
func timespec(left int64) []byte {
	left = max(left, 1)
	b := binary.NativeEndian.AppendUint64(nil, uint64(left/nanosPerSecond))
	return binary.NativeEndian.AppendUint64(b, uint64(left%nanosPerSecond))
}

// Sleepers counts the threads of a process that are to go on with what was left of
// their time.
func Sleepers(p *criuimg.Process) int {
	n := 0
	count := func(tc *criu_core.ThreadCoreEntry) {
		if c, ok := getCall(tc); ok && c.known {
			n++
		}
	}
	if p.Core.GetThreadCore() != nil {
		count(p.Core.GetThreadCore())
	}
	for _, core := range p.Threads {
		if core.GetThreadCore() != nil {
			count(core.GetThreadCore())
		}
	}
	return n
}

// Left says how much of a rest is left, in nanoseconds: now, and when the tree is
// released.
type Left struct{ Now, Released func(Rest) int64 }

// Resumer lets the threads of a process go on with what was left of their time if they
// were waiting with a limit.
type Resumer struct {
	Set  *criuimg.Set
	PID  uint32
	Stub *remote.Stub
	Left Left
	Annex
	// Warn is told of a thread that does not go on as it should.
	Warn func(what string, tid uint32, err error)

	// Late count again how much is left, for a tree that is released later than was
	// planned, after the stub has left its processes.
	Late []func() error
}

// State is the function State for one that must be the last that is done in the
// thread before the stub leaves it: the kernel is made to keep the rest of a sleep, of
// a poll or of a futex wait for the thread, as it does for one that a stop has
// interrupted, and forgets it with the next.
func (r *Resumer) State(tid uint32, th *ptrace.Thread) (remote.State, error) {
	state, err := State(r.Set, r.PID, tid)
	if err != nil {
		return state, err
	}
	core, err := threadOf(r.Set, r.PID, tid)
	if err != nil {
		return state, err
	}
	c, ok := getCall(core.ThreadCore)
	if !ok || !c.known {
		return state, nil
	}
	switch limit := c.limited(); {
	case limit == NoLimit: // No image of ours says so.
	case limit == SocketLimit:
		if err := r.detour(&c, &state); err != nil {
			r.Warn("a thread waits for a socket anew for the whole of its time", tid, err)
		}
	case limit != TimerLimit:
		err = r.keep(&c, th, &state)
	case c.keepsLimit():
		r.shorten(&c)
	default:
		err = r.repeat(&c, th, &state)
	}
	return state, threadError(r.Set, r.PID, tid, err)
}

// keep has the kernel keep the rest of a call.
func (r *Resumer) keep(c *call, th *ptrace.Thread, state *remote.State) error {
	b := newBatch(r.Stub)
	if err := c.again(b, r.Left.Now(c.rest)); err != nil {
		return err
	}
	kept, result, err := r.Stub.Interrupt(th, b.calls[0])
	if err != nil {
		return err
	}
	state.Registers.SetResult(result)
	if kept {
		state.Registers.SetSyscallNumber(c.number)
		state.Interrupted = true
	}
	return nil
}

// shorten writes what is left of a call that is made again where it takes its limit
// from: the kernel has done so when it was interrupted, which was before the clocks
// were read. Programs do not rely on what is there, and it may be out of reach.
func (r *Resumer) shorten(c *call) {
	write := func(left int64) { _ = r.Stub.Write(c.args[c.limitArgument()], c.inPlace(left)) }
	write(r.Left.Released(c.rest))
	r.Late = append(r.Late, func() error {
		write(r.Left.Now(c.rest))
		return nil
	})
}

// inPlace is what is left as the call has it in memory.
func (c *call) inPlace(left int64) []byte {
	limit := timespec(left)
	if c.number == sysSelect {
		micros := binary.NativeEndian.Uint64(limit[8:]) / nanosPerMicro
		binary.NativeEndian.PutUint64(limit[8:], micros)
	}
	return limit
}

// repeat has a call that is made again, although the kernel does not do so by itself,
// take what is left as its limit. The register keeps that for as long as the program
// does not care, as no program does.
func (r *Resumer) repeat(c *call, th *ptrace.Thread, state *remote.State) error {
	limit, err := c.newLimit(r.Left.Released(c.rest), &r.Annex)
	if err != nil {
		return err
	}
	state.Registers.SetArg(c.limitArgument(), limit)
	r.Late = append(r.Late, func() error {
		if !c.inMillis() {
			return r.Stub.Write(limit, timespec(r.Left.Now(c.rest)))
		}
		regs, err := th.Registers()
		if err != nil {
			return err
		}
		regs.SetArg(c.limitArgument(), millis(r.Left.Now(c.rest)))
		return th.SetRegisters(regs)
	})
	return nil
}

// newLimit is the argument that makes a call wait for what is left.
func (c *call) newLimit(left int64, a *Annex) (uint64, error) {
	if c.inMillis() {
		return millis(left), nil
	}
	return a.put(timespec(left))
}

// Prolong has a thread of a live process that was stopped in a call with a time limit
// of which the kernel keeps nothing go on with what is left, when it is let go. left
// says how much of a rest is left. Without an annex only calls whose limit is a number
// do; the others wait for what was left when they were stopped, or anew for the whole
// of their time, as Mend has them.
func Prolong(th *ptrace.Thread, rests Rests, left func(Rest) int64, a *Annex) error {
	regs, err := th.Registers()
	if err != nil {
		return err
	}
	c := call{number: regs.SyscallNumber(), result: regs.Result(), args: regs.Args()}
	limited := c.limited()
	if limited != SocketLimit && (limited != TimerLimit || !c.inMillis() && a == nil) {
		return nil
	}
	rest, ok := rests(th.TID, limited, c.whole())
	switch {
	case !ok:
		return nil
	case limited == SocketLimit:
		c.rest = rest
		return a.prolongSocket(th, &regs, &c, left(rest))
	case c.keepsLimit():
		return a.in.Write(c.args[c.limitArgument()], c.inPlace(left(rest)))
	case !c.inMillis() && a.at == 0:
		return nil
	}
	limit, err := c.newLimit(left(rest), a)
	if err != nil {
		return err
	}
	regs.SetArg(c.limitArgument(), limit)
	return th.SetRegisters(regs)
}

// Prepare makes ready what Prolong needs for the threads of a live process, as long as
// calls can be made in it.
func (a *Annex) Prepare(r *remote.Runner, threads []*ptrace.Thread, rests Rests) error {
	var pcs []uint64
	limits, sockets := false, false
	for _, th := range threads {
		s, err := r.Original(th)
		if err != nil {
			continue
		}
		regs := &s.Registers
		pcs = append(pcs, regs.PC())
		c := call{number: regs.SyscallNumber(), result: regs.Result(), args: regs.Args()}
		switch c.limited() {
		case TimerLimit:
			limits = limits || !c.keepsLimit() && !c.inMillis()
		case SocketLimit:
			_, known := rests(th.TID, SocketLimit, 0)
			sockets = sockets || known
		default:
		}
	}
	if limits {
		if err := a.Ready(); err != nil {
			return err
		}
	}
	if !sockets {
		return nil
	}
	if err := a.detours.ready(); err != nil {
		return err
	}
	a.detours.occupy(pcs)
	return nil
}

// again adds the call that waits for the rest of what c waited for.
func (c *call) again(b *batch, left int64) error {
	if c.limited() == PollLimit {
		b.may("poll").call(uintptr(c.number), c.args[0], c.args[1], millis(left))
		return nil
	}
	limit, err := b.put(timespec(left))
	if err != nil {
		return err
	}
	if c.limited() == FutexLimit {
		b.may("futex").call(unix.SYS_FUTEX, c.args[0], c.args[1], c.args[2], limit)
		return nil
	}
	// Where a handler that runs meanwhile is to find what is left.
	remainder := c.args[1]
	if c.number == unix.SYS_CLOCK_NANOSLEEP {
		remainder = c.args[3]
	}
	b.may("clock_nanosleep").call(unix.SYS_CLOCK_NANOSLEEP, uint64(uint32(c.rest.Clock)), 0, limit, remainder)
	return nil
}
