// SPDX-License-Identifier: Apache-2.0

package native

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/native/tasks"
)

// What is still to be done once the clocks are fixed: for the whole tree, for each
// process and for each thread. These are more than was measured on a busy machine
// (100 processes of one thread: 40 ms; one of 64 threads: 14 ms): being early costs a
// moment of waiting at the gate, being late a jump of MONOTONIC.
const (
	leadBase    = 500 * time.Microsecond
	leadProcess = 650 * time.Microsecond
	leadThread  = 220 * time.Microsecond
	leadSleeper = 130 * time.Microsecond // More for one that sleeps on.

	// usualPace is what one system call in a stub takes on a machine where these hold.
	// Some virtual machines take twice as long for everything.
	usualPace = 25 * time.Microsecond
	// slowest is by how much a machine is taken to be slower at the most.
	slowest = 4
)

// lead is how long the rest of the restore is expected to take.
func (b *build) lead() (clockstate.Nanos, error) {
	lead := leadBase
	for _, pid := range b.nest.living() {
		p := b.set.Process[uint32(pid)]
		lead += leadProcess + time.Duration(len(p.TIDs(uint32(pid))))*leadThread + time.Duration(tasks.Sleepers(p))*leadSleeper
	}
	pace, err := b.pace()
	return atPace(lead, pace), err
}

// atPace is how long something takes on a machine of a pace that takes usual where the
// pace is the usual one, or less.
func atPace(usual, pace time.Duration) clockstate.Nanos {
	pace = min(max(pace, usualPace), slowest*usualPace)
	return clockstate.Nanos(usual.Nanoseconds() * pace.Nanoseconds() / usualPace.Nanoseconds())
}

// pace is how long a system call in the root's stub takes: the shortest of some, for what
// comes between is another time elsewhere.
func (b *build) pace() (time.Duration, error) {
	stub := b.nest.stubs[int(b.set.Tree[0].GetPid())]
	if stub == nil {
		return usualPace, nil // The root is a zombie.
	}
	const calls = 9
	best := slowest * usualPace
	for range calls {
		begin := time.Now()
		if err := stub.Run([]remote.Call{{Name: "see how fast this machine is", Nr: unix.SYS_GETPID, Must: true}}); err != nil {
			return 0, err
		}
		best = min(best, time.Since(begin))
	}
	return best, nil
}
