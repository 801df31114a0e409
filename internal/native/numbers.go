// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/native/criuimg"
	"github.com/crtime/crtime/internal/native/remote"
	"github.com/crtime/crtime/internal/proc"
)

// How long a number that was just given up is waited for, and how often it is
// looked at: the kernel takes the last threads of a killed process out of its tables
// a moment after its parent has learned of the end.
const (
	numberPatience = 500 * time.Millisecond
	numberPause    = time.Millisecond
)

// awaitNumbers waits until the numbers of all processes and threads are free, and
// says who has one that is not.
func awaitNumbers(ctx context.Context, set *criuimg.Set) error {
	deadline := time.Now().Add(numberPatience)
	for _, pid := range set.PIDs() {
		for _, tid := range set.Process[pid].TIDs(pid) {
			for taken(tid) {
				if time.Now().After(deadline) {
					return fmt.Errorf("%w: thread %d of process %d (%s) needs the number of %s", remote.ErrPIDTaken,
						tid, pid, set.Process[pid].Core.GetTc().GetComm(), holder(int(tid)))
				}
				select {
				case <-time.After(numberPause):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
	}
	return nil
}

// taken says whether a process or thread has a number. Threads that lead no
// process are found in /proc too, though they are not listed.
func taken(number uint32) bool {
	var st unix.Stat_t
	return unix.Lstat(fmt.Sprintf("/proc/%d", number), &st) == nil
}

// holder names who has a number.
func holder(number int) string {
	st, err := proc.ReadStat(number)
	if err != nil {
		return "a process that is just ending; try again"
	}
	status, err := proc.ReadStatus(number)
	if err == nil && status.ThreadGroup != number {
		return fmt.Sprintf("a thread (%s) of process %d; end that first", st.Comm, status.ThreadGroup)
	}
	return fmt.Sprintf("process %d (%s); end that first", number, st.Comm)
}
