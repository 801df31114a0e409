// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/parallel"
	"github.com/crtime/crtime/internal/native/ptrace"
)

// Attach makes a Runner for a process that is not crtime's own. th is its first
// thread and is stopped, like all the others.
//
// A *TargetError says that the process is of a kind in which this cannot be done
// safely. After any error the process is as it was.
func Attach(th *ptrace.Thread) (*Runner, error) {
	all, err := AttachAll([]*ptrace.Thread{th})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// AttachAll is Attach for several processes, which is faster: what can be seen from
// outside is looked at by all cores. After an error all of them are as they were.
func AttachAll(leaders []*ptrace.Thread) ([]*Runner, error) {
	code, stop, err := stubCode()
	if err != nil {
		return nil, err
	}
	all := make([]*Runner, len(leaders))
	for i, th := range leaders {
		all[i] = newRunner(th, stop)
		if err := all[i].ask(); err != nil {
			return nil, fmt.Errorf("attach to process %d: %w", th.TID, err)
		}
	}
	errs := make([]error, len(all))
	parallel.Each(len(all), func(i int) { errs[i] = all[i].survey() })
	for i, r := range all {
		if errs[i] != nil {
			return nil, fmt.Errorf("attach to process %d: %w", r.pid, errs[i])
		}
	}
	err = Interleave(all, func(i int) error {
		if err := all[i].move(code); err != nil {
			return fmt.Errorf("attach to process %d: %w", all[i].pid, err)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, CloseAll(all))
	}
	return all, nil
}

// newRunner makes a Runner for a live process, which is not touched.
func newRunner(leader *ptrace.Thread, stop uint64) *Runner {
	return &Runner{pid: leader.TID, leader: leader, stop: stop, live: &live{
		original:  make(map[*ptrace.Thread]State),
		groupStop: make(map[*ptrace.Thread]unix.Signal),
		signals:   make(map[*ptrace.Thread]signals),
	}}
}

// ask asks the kernel, as only the tracer can, how the leader stands and whether it
// can make calls.
func (r *Runner) ask() error {
	s, err := r.Original(r.leader)
	if err != nil {
		return err
	}
	return r.barred(r.leader, s)
}

// survey looks at the target without changing anything. It does not need the
// tracer's thread.
func (r *Runner) survey() error {
	status, err := r.obstacles(r.leader)
	if err != nil {
		return err
	}
	s := r.live.original[r.leader]
	r.signal = status.harmless(r.leader.GroupStop != 0)
	all, err := readMappings(r.pid)
	if err != nil {
		return err
	}
	area, ok := findHole(all, AreaSize)
	if !ok {
		return &TargetError{PID: r.pid, Why: fmt.Sprintf("its address space has no hole of %d KiB", AreaSize>>10)}
	}
	r.area = area
	r.live.gadgets = findGadgets(r.pid, all, s.Registers.PC())
	if r.live.gadgets.call == 0 {
		return &TargetError{PID: r.pid, Why: "no system call instruction was found in its code"}
	}
	if r.live.gadgets.guarded() {
		r.live.shelter.end, err = findShelter(r.pid, all, s.Registers.SP())
	}
	return err
}

// barred looks for what forbids system calls in a thread and only its tracer can
// see. Each is a thread's own.
func (r *Runner) barred(th *ptrace.Thread, s State) error {
	dispatched, err := dispatchesSyscalls(th.TID)
	switch {
	case err != nil:
		return err
	case narrow(&s.Registers):
		return r.targetError(th, "it runs 32-bit code")
	case dispatched:
		return r.targetError(th, "it has its system calls turned into signals (PR_SET_SYSCALL_USER_DISPATCH)")
	default:
		return nil
	}
}

// obstacles looks for what else forbids system calls in a thread, or the way back
// from them. Each is a thread's own.
func (r *Runner) obstacles(th *ptrace.Thread) (signals, error) {
	status, err := readSignals(th.TID)
	if err != nil {
		return status, err
	}
	var why string
	switch {
	case status.seccomp:
		why = "it has a seccomp filter, which could kill it for them"
	case status.shadowStack:
		why = "it has a shadow stack (x86 CET), on which the way back cannot be written; start it without (glibc.cpu.x86_shstk=off)"
	default:
		r.live.signals[th] = status
		return status, nil
	}
	return status, r.targetError(th, why)
}

// targetError says why a thread of the process cannot be used.
func (r *Runner) targetError(th *ptrace.Thread, why string) error {
	if th.TID != r.pid {
		why = fmt.Sprintf("thread %d: %s", th.TID, why)
	}
	return &TargetError{PID: r.pid, Why: why}
}

// move maps the area and moves the leader into it.
func (r *Runner) move(code []byte) error {
	// Readable and executable at first: where a process may not make writable
	// memory executable (PR_SET_MDWE), this order is allowed.
	mmap := Call{
		Name: "map 128 KiB in the process",
		Nr:   unix.SYS_MMAP,
		Args: [6]uint64{r.area, AreaSize, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0},
	}
	if err := r.stepGuarded(&mmap); err != nil {
		return noRoom(r.pid, err)
	}
	r.live.mapped = true
	if uint64(mmap.Ret) != r.area {
		// A kernel before 4.17 takes the address for a hint.
		r.area = uint64(mmap.Ret)
	}
	protect := Call{
		Name: "make memory in the process writable",
		Nr:   unix.SYS_MPROTECT,
		Args: [6]uint64{r.area + tableOffset, AreaSize - tableOffset, unix.PROT_READ | unix.PROT_WRITE},
	}
	if err := r.stepGuarded(&protect); err != nil {
		return noRoom(r.pid, err)
	}
	if err := WriteCode(r.leader.TID, r.area+codeOffset, code); err != nil {
		return err
	}
	if err := r.enter(r.leader); err != nil {
		return err
	}
	return r.clearShelter()
}

// noRoom is err, or a *TargetError if the kernel refused the process memory.
func noRoom(pid int, err error) error {
	var refused *CallError
	if !errors.As(err, &refused) {
		return err
	}
	why := "the kernel refuses it " + strconv.Itoa(AreaSize>>10) + " KiB of memory"
	switch refused.Errno {
	case unix.ENOMEM:
		why += " (its limit on address space, RLIMIT_AS, or on the number of mappings, vm.max_map_count, may be reached, or that of its cgroup)"
	case unix.EACCES, unix.EPERM:
		why += " with code in it (a security module may forbid that)"
	default:
	}
	return &TargetError{PID: pid, Why: why, Err: err}
}

// CloseAll closes several runners, which is faster than one by one.
func CloseAll(all []*Runner) error {
	return Interleave(all, func(i int) error { return all[i].Close() })
}

// Close takes the area out of the target and gives the leader its own state
// again, with an interrupted system call as the stop has left it: what becomes
// of that the kernel decides when the thread is let go. All threads stay stopped.
//
// A target that is gone is no error. After another error the target may still
// have the area, and is otherwise as it was. Closing twice does nothing. A stub is
// not closed: see Stub.Leave and Stub.Kill.
func (r *Runner) Close() error {
	if r.closed || r.live == nil {
		return nil
	}
	r.closed = true
	var errs []error
	if r.live.mapped {
		unmap := Call{
			Name: "unmap crtime's memory in the process",
			Nr:   unix.SYS_MUNMAP,
			Args: [6]uint64{r.area, AreaSize},
		}
		errs = append(errs, r.stepGuarded(&unmap))
	}
	if r.live.touched {
		errs = append(errs, r.settle(r.leader))
	}
	if s, ok := r.live.original[r.leader]; ok && r.live.touched {
		errs = append(errs, r.putBack(r.leader, s))
	}
	errs = append(errs, r.clearShelter())
	if err := ignoreGone(errors.Join(errs...)); err != nil {
		return fmt.Errorf("detach from process %d: %w", r.pid, err)
	}
	return nil
}
