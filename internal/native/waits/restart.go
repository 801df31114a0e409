// SPDX-License-Identifier: Apache-2.0

package waits

import "strings"

// Kind is a kind of call with which the kernel goes on by itself.
type Kind int

// The kinds. A call that was interrupted for the second time does not say any more
// which it was: it is restart_syscall.
const (
	Unknown Kind = iota
	Sleep
	Poll
	Futex
)

// kindOf is the kind of the kernel's function with this name. A compiler may have
// appended something to it.
func kindOf(function string) Kind {
	name, _, _ := strings.Cut(function, ".")
	switch name {
	case "hrtimer_nanosleep_restart":
		return Sleep
	case "do_restart_poll":
		return Poll
	case "futex_wait_restart":
		return Futex
	default:
		return Unknown
	}
}
