// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// PosixTimer names a POSIX timer: the process that has it, and its number there, as
// timer_create gave it.
type PosixTimer struct {
	PID, ID int32
}

// Expired is a POSIX timer with a period that has expired and stands still since, as it
// does while its signal waits to be taken.
type Expired struct {
	At       Deadline
	Interval int64 // In nanoseconds; more than 0.
	// Overrun is how many periods had passed at At since the first expiry: 0 unless
	// somebody has asked for the timer's time meanwhile.
	Overrun int64
}

// ReadExpired asks about timers, of which those in the answer stand still. Timers on CPU
// time and on alarm clocks never are. It loads a program of its own for that, which takes
// some ten milliseconds. The error is ErrUnavailable if that cannot be done.
func ReadExpired(timers []PosixTimer) (answer map[PosixTimer]Expired, err error) {
	var p struct {
		Expired *ebpf.Program `ebpf:"expired"`
		Wanted  *ebpf.Map     `ebpf:"wanted"`
		Timers  *ebpf.Map     `ebpf:"timers"`
	}
	if err := load(&p, len(timers)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { err = errors.Join(err, p.Expired.Close(), p.Wanted.Close(), p.Timers.Close()) }()
	iter, err := link.AttachIter(link.IterOptions{Program: p.Expired})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	var pids []int
	for _, t := range timers {
		pids = append(pids, int(t.PID))
		if err := p.Timers.Put(t, expiry{}); err != nil {
			return nil, fmt.Errorf("ask about timer %d of process %d: %w", t.ID, t.PID, err)
		}
	}
	nothing := func(r io.Reader) error {
		if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
			return errors.Join(err, fmt.Errorf("%d bytes, want none", n))
		}
		return io.EOF
	}
	if err := ask(iter, p.Wanted, pids, nothing); err != nil {
		return nil, err
	}
	answer = map[PosixTimer]Expired{}
	for _, t := range timers {
		var e expiry
		if err := p.Timers.Lookup(t, &e); err != nil {
			return nil, fmt.Errorf("the answer about timer %d of process %d: %w", t.ID, t.PID, err)
		}
		if e.Interval > 0 {
			answer[t] = e.expired()
		}
	}
	return answer, nil
}

// ask asks about processes, and has next read one answer after the other.
func ask(iter *link.Iter, wanted *ebpf.Map, pids []int, next func(io.Reader) error) error {
	const there = int32(1)
	for _, pid := range pids {
		if err := wanted.Put(int32(pid), there); err != nil {
			return fmt.Errorf("ask about process %d: %w", pid, err)
		}
		// If it stays, the worst is that a later question is answered for it, too.
		defer func() { _ = wanted.Delete(int32(pid)) }()
	}
	text, err := iter.Open()
	if err != nil {
		return fmt.Errorf("ask the kernel about processes: %w", err)
	}
	defer text.Close()
	many := bufio.NewReaderSize(text, 1<<16)
	for {
		err := next(many)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what the kernel says of processes: %w", err)
		}
	}
}

// expiry is struct expiry of bpf/waits.c.
type expiry struct {
	At, Interval, Overrun int64
	Clock                 int32
	_                     uint32
}

// expired gives what was read its meaning. The kernel counts from -1: the expiry that
// sent the signal is none that was missed.
func (e *expiry) expired() Expired {
	return Expired{At: Deadline{Clock: e.Clock, At: e.At}, Interval: e.Interval, Overrun: e.Overrun + 1}
}
