// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"

	images "github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/tasks"
	"github.com/crtime/crtime/internal/timens"
)

// addHeader adds what an image directory says of the dump as a whole, after the
// processes have been collected. The tree's clocks are for CRIU: crtime's own image,
// which package checkpoint writes, knows more.
func (d *dump) addHeader(set *criuimg.Set) error {
	own := tasks.NamespaceIDs()
	set.Inventory = criuimg.NewInventory(own)
	// CRIU looks for the clocks of a tree in a time namespace of its own under the
	// number of that.
	if root := set.Process[uint32(d.PID)].IDs; root.GetTimeNsId() != own.GetTimeNsId() {
		set.TimeNSID = root.GetTimeNsId()
	}
	theirs, err := timens.OffsetsOf(d.PID)
	if err != nil {
		return fmt.Errorf("time namespace of process %d: %w", d.PID, err)
	}
	clocks, err := hostclock.NewReader()
	if err != nil {
		return err
	}
	shift := clocks.Offsets()
	set.TimeNS = &images.TimensEntry{
		Monotonic: timespec(clockstate.Nanos(d.frozen[unix.CLOCK_MONOTONIC]) - shift.Monotonic + theirs.Monotonic),
		Boottime:  timespec(clockstate.Nanos(d.frozen[unix.CLOCK_BOOTTIME]) - shift.Boottime + theirs.Boottime),
	}
	return nil
}

func timespec(n clockstate.Nanos) *images.Timespec {
	sec, nsec := n.Timespec()
	return &images.Timespec{TvSec: proto.Uint64(uint64(sec)), TvNsec: proto.Uint64(uint64(nsec))}
}
