// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
)

// untaken are the periods that have to be taken off timers, by their numbers: see
// takeSignals.
type untaken map[int32]int64

// takeSignals takes out of the queues of a process the signals of timers with a period
// that stand still until their signals are taken. The kernel works out then how many
// periods have passed. A signal queued by somebody else has lost that tie: the program
// would not be told of the periods of an outage with it, but with a second one. So the
// timer is set to when it expired, as of's Left then says, and sends its signal again.
// (One that takes spans alone does not itself: see spanTimer.start.)
//
// SIGCONT is left: none that comes before the end of a stub's last batch survives it.
func takeSignals(p *criuimg.Process, pid uint32) untaken {
	periodic := map[int32]bool{}
	for _, e := range p.Core.GetTc().GetTimers().GetPosix() {
		if t, ok := posixTimer(pid, e); ok && t.Interval > 0 && standing(e) && unix.Signal(e.GetSiSigno()) != unix.SIGCONT {
			periodic[t.ID] = true
		}
	}
	taken := untaken{}
	if len(periodic) == 0 {
		return taken
	}
	for _, q := range queuesOf(p) {
		if q == nil {
			continue
		}
		q.Signals = slices.DeleteFunc(q.Signals, func(e *siginfo.SiginfoEntry) bool {
			id, ok := timerOfSignal(e.GetSiginfo())
			if !ok || !periodic[id] {
				return false
			}
			overrun := int32(binary.LittleEndian.Uint32(e.GetSiginfo()[siginfoOverrun:]))
			taken[id] += 1 + int64(max(overrun, 0))
			return true
		})
	}
	return taken
}

// of is the timer, due when it sent the first of the signals that were taken.
func (u untaken) of(t Timer) Timer {
	if periods := u[t.ID]; periods > 0 {
		periods = min(periods, math.MaxInt64/int64(t.Interval))
		t.Left = time.Duration(sub(int64(t.Left), periods*int64(t.Interval)))
	}
	return t
}
