// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/proc"
)

// ErrPIDTaken says that a process or thread has a number that the tree needs.
var ErrPIDTaken = errors.New("process identifier is taken")

// How long a process that has just been dumped may need to disappear, and how
// often to look.
const (
	reapPatience = 5 * time.Second
	reapPause    = 2 * time.Millisecond
)

// awaitPIDs waits until the numbers that the tree needs are free. A process that
// has just been dumped stays in the table until its parent has noticed its end;
// any other one is an error at once, with its name.
func awaitPIDs(ctx context.Context, s *clockstate.State) error {
	deadline := time.Now().Add(reapPatience)
	for _, p := range s.Processes {
		if p.PID != p.OuterPID {
			continue // It lives in a pid namespace of its own.
		}
		for {
			holder, err := proc.ReadStat(int(p.OuterPID))
			if errors.Is(err, proc.ErrGone) {
				break
			}
			if err != nil {
				return fmt.Errorf("look for process %d: %w", p.OuterPID, err)
			}
			ended := holder.State == proc.Zombie || holder.State == proc.Dead
			if !ended {
				return fmt.Errorf("%w: the tree's process %d (%s) needs the number of process %d (%s), which is running: end that, or restore in a pid namespace of its own",
					ErrPIDTaken, p.OuterPID, p.Comm, holder.PID, holder.Comm)
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%w: process %d (%s) has ended, but its parent %d has not taken notice within %v",
					ErrPIDTaken, holder.PID, holder.Comm, holder.PPID, reapPatience)
			}
			select {
			case <-time.After(reapPause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
