// SPDX-License-Identifier: Apache-2.0

package timers

import (
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/crtime/crtime/internal/native/extra"
)

// fieldAbsolute is a field of crtime's own in posix_timer_entry, from the range
// that protobuf keeps for use within organisations: 1 says that a timer on
// REALTIME was set to a point in time, and thus follows the clock when that is
// set. Without it the timer counts as set to a span, as CRIU restores all. CRIU
// skips fields that it does not know.
const fieldAbsolute protowire.Number = 50001

// fieldStanding is another: 1 says that the timer had expired, and stood still until its
// signal, which waits, is taken. The entry has when it was to expire next, as if it ran.
// CRIU restores it so.
const fieldStanding protowire.Number = 50002

func setStanding(e *timer.PosixTimerEntry) { extra.Set(e, fieldStanding, 1) }

// standing reports what setStanding noted.
func standing(e *timer.PosixTimerEntry) bool {
	value, _ := extra.Value(e, fieldStanding)
	return value == 1
}

// setAbsolute notes that the timer was set to a point in time.
func setAbsolute(e *timer.PosixTimerEntry) { extra.Set(e, fieldAbsolute, 1) }

// absolute reports what setAbsolute noted.
func absolute(e *timer.PosixTimerEntry) bool {
	value, _ := extra.Value(e, fieldAbsolute)
	return value == 1
}
