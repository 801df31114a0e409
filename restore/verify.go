// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/hostclock"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
)

// Verification compares what the processes of a restored tree read now with what
// they read at the freeze.
type Verification struct {
	Processes []VerifiedProcess
	Kept      bool // Every promise, for every process.
}

// VerifiedProcess is one process of a restored tree.
type VerifiedProcess struct {
	PID           int
	Comm          string
	Before, After clockstate.Readings
	Kept          bool   // No clock reads less, and BOOTTIME - MONOTONIC has not shrunk.
	Why           string // What is wrong; "" when Kept.
}

// Verify reads the clocks of the running tree below pid and holds them against
// the images that it was restored from. Processes that the tree has made or lost
// since are not an error: each one is held against its own record, or else its
// root's.
func Verify(im *Images, pid int) (*Verification, error) {
	clocks, err := hostclock.NewReader()
	if err != nil {
		return nil, err
	}
	tree, err := proc.Scan(pid)
	if err != nil {
		return nil, fmt.Errorf("verify the tree below process %d: %w", pid, err)
	}
	root, records := recordsByPID(im.State)
	v := &Verification{Kept: true}
	for _, task := range tree.Tasks {
		if task.Zombie {
			continue
		}
		before, known := records[task.PID]
		if !known {
			before = root
		}
		one, err := verifyProcess(task.PID, before, im.State.Freeze.Width, clocks)
		if err != nil {
			return nil, err
		}
		v.Processes = append(v.Processes, one)
		v.Kept = v.Kept && one.Kept
	}
	return v, nil
}

// recordsByPID returns what each process read at the freeze, the root's first.
func recordsByPID(s *clockstate.State) (root clockstate.Readings, all map[int]clockstate.Readings) {
	all = make(map[int]clockstate.Readings, len(s.Processes))
	for _, p := range s.Processes {
		all[int(p.OuterPID)] = p.Readings
		if p.OuterPID == s.RootPID {
			root = p.Readings
		}
	}
	return root, all
}

// readingWidth is more than the reading was wide from which the offsets were planned; it
// is not recorded.
const readingWidth = 20 * clockstate.Nanos(time.Microsecond)

// verifyProcess holds one process against its record, which was read in so wide a time.
func verifyProcess(pid int, before clockstate.Readings, width clockstate.Nanos, clocks *hostclock.Reader) (VerifiedProcess, error) {
	st, err := proc.ReadStat(pid)
	if err != nil {
		return VerifiedProcess{}, fmt.Errorf("verify process %d: %w", pid, err)
	}
	offsets, err := timens.OffsetsOf(pid)
	if err != nil {
		return VerifiedProcess{}, fmt.Errorf("verify process %d: %w", pid, err)
	}
	host, err := clocks.Read()
	if err != nil {
		return VerifiedProcess{}, err
	}
	after, err := host.Shift(offsets)
	if err != nil {
		return VerifiedProcess{}, fmt.Errorf("verify process %d: %w", pid, err)
	}
	// BOOTTIME - MONOTONIC is known no better than all three readings tell.
	proof := clockstate.Compare(before, after, width+readingWidth+host.Width)
	return VerifiedProcess{PID: pid, Comm: st.Comm, Before: before, After: after, Kept: proof.Kept, Why: whyBroken(proof)}, nil
}

// whyBroken names the first promise that does not hold; "" if all do.
func whyBroken(p clockstate.NamespaceProof) string {
	for _, c := range p.Clocks {
		if !c.Kept {
			return fmt.Sprintf("%v reads %v less than at the freeze", c.Clock, -c.Margin)
		}
	}
	if !p.Difference.Kept {
		return fmt.Sprintf("BOOTTIME - MONOTONIC has shrunk by %v", -p.Difference.Margin)
	}
	return ""
}
