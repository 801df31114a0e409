// SPDX-License-Identifier: Apache-2.0

package hostclock

import (
	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
)

// The kernel's status bits and state (include/uapi/linux/timex.h), which x/sys
// does not have.
const (
	staUnsync = 0x0040
	timeError = 5
)

// wallClock asks the kernel how far REALTIME can be trusted. Known is false if
// it does not answer, as some sandboxes forbid the call even for reading.
func wallClock() clockstate.WallClock {
	// Modes 0 changes nothing and needs no privilege.
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return clockstate.WallClock{}
	}
	return clockstate.WallClock{
		Known:        true,
		Synchronised: state != timeError && t.Status&staUnsync == 0,
		// The kernel counts both in microseconds, whatever STA_NANO says.
		MaxError:  clockstate.Nanos(max(t.Maxerror, 0)) * 1000,
		EstError:  clockstate.Nanos(max(t.Esterror, 0)) * 1000,
		TAIOffset: t.Tai,
	}
}
