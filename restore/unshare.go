// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"fmt"
	"strconv"

	"github.com/crtime/crtime/clockstate"
)

// Unshared is what the unshare program of util-linux (2.36 or later) has to be told. It
// takes whole seconds only, and writes them as they are: relative to the initial time
// namespace.
type Unshared struct {
	Monotonic, Boottime int64 // Seconds.
	// Forward is by how much these are more than what was planned. Each is 0 or
	// more, and that of Boottime not so much less than that of Monotonic that
	// BOOTTIME - MONOTONIC would shrink.
	Forward clockstate.Offsets
}

// Unshare rounds the offsets of a plan to whole seconds, up, so that no clock reads less
// than it did: MONOTONIC by less than a second, BOOTTIME by less than two, as it has to
// keep its distance. For when to start and for errors see [OCI]; an offset that cannot
// be rounded is clockstate's ErrOverflow.
func Unshare(p *clockstate.Plan) (Unshared, error) {
	ns, err := oneNamespace(p)
	if err != nil {
		return Unshared{}, err
	}
	return wholeSeconds(ns.Offsets)
}

// wholeSeconds rounds up, BOOTTIME after it has been moved along with MONOTONIC.
func wholeSeconds(o clockstate.Offsets) (u Unshared, err error) {
	if u.Monotonic, u.Forward.Monotonic, err = roundUp(o.Monotonic); err != nil {
		return Unshared{}, fmt.Errorf("offset of CLOCK_MONOTONIC: %w", err)
	}
	along, err := clockstate.Add(o.Boottime, u.Forward.Monotonic)
	if err == nil {
		u.Boottime, u.Forward.Boottime, err = roundUp(along)
	}
	if err != nil {
		return Unshared{}, fmt.Errorf("offset of CLOCK_BOOTTIME: %w", err)
	}
	u.Forward.Boottime += u.Forward.Monotonic // Both are below a second.
	return u, nil
}

// roundUp returns the least whole seconds that are n or more, and how much more.
func roundUp(n clockstate.Nanos) (seconds int64, more clockstate.Nanos, err error) {
	const second = 1_000_000_000
	seconds, nsec := n.Timespec()
	if nsec == 0 {
		return seconds, 0, nil
	}
	more = second - clockstate.Nanos(nsec)
	_, err = clockstate.Add(n, more)
	return seconds + 1, more, err
}

// Command is the command line of unshare, to which the program to run and its arguments
// are to be added. The program is a child of unshare's, as it must be to live in the new
// namespace, and ends with it.
func (u Unshared) Command() []string {
	return []string{
		"unshare", "--time",
		"--monotonic", strconv.FormatInt(u.Monotonic, 10),
		"--boottime", strconv.FormatInt(u.Boottime, 10),
		"--fork", "--kill-child", "--",
	}
}
