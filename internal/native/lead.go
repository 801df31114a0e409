// SPDX-License-Identifier: Apache-2.0

package native

import (
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/native/tasks"
)

// What is still to be done once the clocks are fixed: for the whole tree, for each
// process and for each thread. These are more than was measured on a busy machine
// (100 processes of one thread: 23 ms; one of 64 threads: 14 ms): being early costs a
// moment of waiting at the gate, being late a jump of MONOTONIC.
const (
	leadBase    = 500 * time.Microsecond
	leadProcess = 200 * time.Microsecond
	leadThread  = 220 * time.Microsecond
	leadSleeper = 130 * time.Microsecond // More for one that sleeps on.
)

// lead is how long the rest of the restore is expected to take.
func (b *build) lead() clockstate.Nanos {
	lead := leadBase
	for _, pid := range b.nest.living() {
		p := b.set.Process[uint32(pid)]
		lead += leadProcess + time.Duration(len(p.TIDs(uint32(pid))))*leadThread + time.Duration(tasks.Sleepers(p))*leadSleeper
	}
	return clockstate.Nanos(lead)
}
