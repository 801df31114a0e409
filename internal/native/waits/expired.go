// SPDX-License-Identifier: Apache-2.0

package waits

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Expired is a POSIX timer with a period whose signal waits. Until that is taken the
// timer stands still.
type Expired struct {
	PID      int
	ID       int32 // As timer_create gave it.
	At       Deadline
	Interval int64 // In nanoseconds; more than 0.
	// Overrun is how often it had expired before At, without the expiry that sent the
	// signal. 0 unless somebody has asked for its time meanwhile.
	Overrun int64
}

// ReadExpired lists such timers of processes. It loads a program of its own for that,
// which takes some ten milliseconds. The error is ErrUnavailable if that cannot be done.
func ReadExpired(pids []int) (all []Expired, err error) {
	var p struct {
		Expired *ebpf.Program `ebpf:"expired"`
		Wanted  *ebpf.Map     `ebpf:"wanted"`
	}
	if err := load(&p, len(pids)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { err = errors.Join(err, p.Expired.Close(), p.Wanted.Close()) }()
	iter, err := link.AttachIter(link.IterOptions{Program: p.Expired})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	err = ask(iter, p.Wanted, pids, func(r io.Reader) error {
		var e expiry
		if err := binary.Read(r, binary.NativeEndian, &e); err != nil {
			return err
		}
		all = append(all, e.expired())
		return nil
	})
	return all, err
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
	PID, ID               int32
	At, Interval, Overrun int64
	Clock                 int32
	_                     uint32
}

// expired gives what was read its meaning. The kernel counts from -1: the expiry that
// sent the signal is none that was missed.
func (e *expiry) expired() Expired {
	return Expired{
		PID: int(e.PID), ID: e.ID, At: Deadline{Clock: e.Clock, At: e.At},
		Interval: e.Interval, Overrun: e.Overrun + 1,
	}
}
