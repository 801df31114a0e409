// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
)

// NumberError says that a timer cannot have its number.
type NumberError struct {
	ID  int32 // The number wanted.
	Got int32 // What the kernel gave instead.
}

// Error says what the kernel did.
func (e *NumberError) Error() string {
	return fmt.Sprintf("the kernel made timer %d when it was to be %d: the process has had timers before", e.Got, e.ID)
}

// Create makes the POSIX timers of a process with their own numbers. They do not
// run yet. All of the process's threads must exist, and all processes whose CPU
// time they count; s has passed Check.
func Create(s *criuimg.Set, pid uint32, stub *remote.Stub) error {
	return create(s, pid, stub, canChooseIDs())
}

// create is Create where it is known whether numbers can be chosen.
func create(s *criuimg.Set, pid uint32, in caller, choose bool) error {
	list := saved(s, pid)
	if len(list) == 0 {
		return nil
	}
	// In ascending order, since a kernel that has been told a number goes on from
	// there: the process's next timer then has a number of its own.
	slices.SortFunc(list, func(a, b posix) int { return cmp.Compare(a.id, b.id) })
	build := counted
	if choose {
		build = chosen
	}
	if err := build(in, list); err != nil {
		if errors.Is(err, unix.EAGAIN) {
			err = fmt.Errorf("%w: its limit for pending signals (ulimit -i), from which timers are taken, is too low", err)
		}
		return fmt.Errorf("make the timers of process %d: %w", pid, err)
	}
	return nil
}

// saved are the POSIX timers of a process in the images.
func saved(s *criuimg.Set, pid uint32) []posix {
	p := s.Process[pid]
	if p == nil {
		return nil
	}
	entries := p.Core.GetTc().GetTimers().GetPosix()
	list := make([]posix, len(entries))
	for i, e := range entries {
		list[i] = posixOf(e)
	}
	return list
}

// chosen makes timers on a kernel that lets us choose their numbers.
func chosen(in caller, list []posix) error {
	for part := range slices.Chunk(list, mostTimers) {
		var b batch
		b.call("let the process choose the numbers of its timers", unix.SYS_PRCTL, restoreIDs, restoreIDsOn)
		check := b.create(part)
		b.call("let the kernel choose the numbers of timers again", unix.SYS_PRCTL, restoreIDs, restoreIDsOff)
		if err := b.run(in); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// counted makes timers on a kernel that gives new ones the numbers from 0 on, by
// deleting those that have none of the numbers wanted.
func counted(in caller, list []posix) error {
	next := int32(0)
	for _, t := range list {
		for next < t.id {
			n := min(t.id-next, mostSkipped)
			if err := skip(in, next, n); err != nil {
				return err
			}
			next += n
		}
		var b batch
		check := b.create([]posix{t})
		if err := b.run(in); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
		next++
	}
	return nil
}

// mostSkipped is how many numbers are used up by one batch.
const mostSkipped = 1000

// skip uses up n numbers, of which first is the next.
func skip(in caller, first, n int32) error {
	var b batch
	event := b.put(posix{notify: notifyNone}.encodeEvent())
	id := b.room(idSize)
	for i := range n {
		b.call("timer_create", unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, event, id)
		b.call("timer_delete", unix.SYS_TIMER_DELETE, first+i)
	}
	err := b.run(in)
	if errors.Is(err, unix.EINVAL) {
		// There was no timer of that number to delete.
		return &NumberError{ID: first, Got: -1}
	}
	return err
}

// create adds the calls that make timers. The function is for after the batch:
// it tells whether each has its number.
func (b *batch) create(list []posix) (check func() error) {
	places := make([]at, len(list))
	for i, t := range list {
		event := b.put(t.encodeEvent())
		places[i] = b.put(binary.LittleEndian.AppendUint32(nil, uint32(t.id)))
		b.call(fmt.Sprintf("make timer %d on %s", t.id, t.clock), unix.SYS_TIMER_CREATE, int32(t.clock), event, places[i])
	}
	return func() error {
		for i, t := range list {
			got := b.get(places[i])[:idSize]
			if !bytes.Equal(got, binary.LittleEndian.AppendUint32(nil, uint32(t.id))) {
				return &NumberError{ID: t.id, Got: int32(binary.LittleEndian.Uint32(got))}
			}
		}
		return nil
	}
}
