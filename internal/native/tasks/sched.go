// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/extra"
)

// resetOnFork is SCHED_RESET_ON_FORK in the policy of the image.
const resetOnFork = 0x40000000

// savedPolicies are the scheduling policies that images describe.
func savedPolicies() []uint32 {
	return []uint32{unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE, unix.SCHED_FIFO, unix.SCHED_RR}
}

// saveSched writes a thread's scheduling policy, priority, nice value, what it has
// asked of the scheduler besides, CPU affinity and priority for disks. All of it can be asked from outside.
func saveSched(tid int, tc *criu_core.ThreadCoreEntry) error {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return fmt.Errorf("scheduling of thread %d: %w", tid, err)
	}
	if why := policyObstacle(attr.Policy); why != "" {
		return fmt.Errorf("%w: its scheduling policy is %s, and %s", engine.ErrUnsupported, policyName(attr.Policy), why)
	}
	policy := attr.Policy
	if attr.Flags&unix.SCHED_FLAG_RESET_ON_FORK != 0 {
		policy |= resetOnFork
	}
	tc.SchedPolicy = &policy
	if realTime(attr.Policy) {
		tc.SchedPrio = &attr.Priority
	}
	// sched_getattr says 0 for the nice value of a real-time thread, which the
	// kernel keeps all the same. The system call counts from 40 down to 1.
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return fmt.Errorf("nice value of thread %d: %w", tid, err)
	}
	tc.SchedNice = proto.Int32(int32(20 - nice))
	saveClamps(attr, tc)
	if err := saveIOPriority(tid, tc); err != nil {
		return err
	}
	return saveAffinity(tid, tc)
}

func realTime(policy uint32) bool { return policy == unix.SCHED_FIFO || policy == unix.SCHED_RR }

// saveAffinity keeps the CPUs of a thread if they are not simply all that this
// machine has: such a thread may use all CPUs of another machine too.
func saveAffinity(tid int, tc *criu_core.ThreadCoreEntry) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &set); err != nil {
		return fmt.Errorf("CPU affinity of thread %d: %w", tid, err)
	}
	if everyCPU(set.Count()) {
		return nil
	}
	var mask []byte
	for cpu := range len(set) * strconv.IntSize {
		if set.IsSet(cpu) {
			for len(mask) <= cpu/8 {
				mask = append(mask, 0)
			}
			mask[cpu/8] |= 1 << (cpu % 8)
		}
	}
	extra.SetBytes(tc, fieldAffinity, mask)
	return nil
}

// everyCPU reports whether the machine has n online CPUs.
func everyCPU(n int) bool { return n == online() }

// online is how many CPUs the machine has online; -1 if that is not known. It is
// counted once.
var online = sync.OnceValue(func() int { //nolint:gochecknoglobals // Counted once.
	list, err := onlineCPUs()
	if err != nil {
		return -1
	}
	total := 0
	for _, r := range list {
		total += r[1] - r[0] + 1
	}
	return total
})

// onlineCPUs lists the machine's CPUs as ranges, both ends included.
func onlineCPUs() ([][2]int, error) {
	data, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	return parseCPUs(string(data))
}

// parseCPUs parses a list of CPUs such as "0-3,5".
func parseCPUs(text string) ([][2]int, error) {
	var list [][2]int
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", text, err)
		}
		list = append(list, [2]int{a, b})
	}
	return list, nil
}

// defaultSlack is the timer slack of the first process in nanoseconds (init_task
// of the kernel), which is inherited from there.
const defaultSlack = 50000

// saveTimerSlack keeps how late a thread's sleeps may be made.
func saveTimerSlack(slack uint64, tc *criu_core.ThreadCoreEntry) {
	if slack != defaultSlack {
		extra.Set(tc, fieldTimerSlack, slack)
	}
}

// timerSlack is the slack of a thread's image. Images of CRIU do not have it.
func timerSlack(tc *criu_core.ThreadCoreEntry) uint64 {
	if slack, ok := extra.Value(tc, fieldTimerSlack); ok && slack != 0 {
		return slack
	}
	return defaultSlack
}

// checkSched refuses values that the kernel would.
func checkSched(tc *criu_core.ThreadCoreEntry) error {
	policy, prio, nice := tc.GetSchedPolicy()&^resetOnFork, tc.GetSchedPrio(), tc.GetSchedNice()
	const highest = 99
	switch {
	case !slices.Contains(savedPolicies(), policy):
		return fmt.Errorf("the image has scheduling policy %d, which does not exist", policy)
	case nice < -20 || nice > 19:
		return fmt.Errorf("the image has a nice value of %d", nice)
	case realTime(policy) != (prio > 0) || prio > highest:
		return fmt.Errorf("the image has scheduling policy %d with priority %d", policy, prio)
	}
	if slack, _ := extra.Value(tc, fieldTimerSlack); slack > math.MaxInt64 {
		return fmt.Errorf("the image has a timer slack of %d ns", slack)
	}
	if err := checkClamps(tc); err != nil {
		return err
	}
	return checkAffinity(tc)
}

// checkAffinity refuses a thread that may run on no CPU of this machine.
func checkAffinity(tc *criu_core.ThreadCoreEntry) error {
	wanted, ok := affinity(tc)
	if !ok {
		return nil
	}
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return fmt.Errorf("crtime's own CPUs: %w", err)
	}
	// The set of crtime may have been narrowed; what counts is what is there.
	for cpu := range len(wanted) * strconv.IntSize {
		if wanted.IsSet(cpu) && (own.IsSet(cpu) || cpuOnline(cpu)) {
			return nil
		}
	}
	return fmt.Errorf("it is bound to CPUs that this machine does not have; %s, which leaves the binding out", useCRIU)
}

// affinity is the set of CPUs of a thread's image; false: it may use all.
func affinity(tc *criu_core.ThreadCoreEntry) (unix.CPUSet, bool) {
	var set unix.CPUSet
	mask := extra.Bytes(tc, fieldAffinity)
	for cpu := range len(mask) * 8 {
		if mask[cpu/8]&(1<<(cpu%8)) != 0 {
			set.Set(cpu)
		}
	}
	return set, mask != nil
}

// cpuOnline reports whether the machine has a CPU of this number.
func cpuOnline(cpu int) bool {
	list, err := onlineCPUs()
	return err == nil && slices.ContainsFunc(list, func(r [2]int) bool { return r[0] <= cpu && cpu <= r[1] })
}

// restoreSched gives a thread its scheduling from outside. A real-time thread
// that is stopped takes no CPU from anybody.
func restoreSched(tid int, tc *criu_core.ThreadCoreEntry) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, tid, int(tc.GetSchedNice())); err != nil {
		return fmt.Errorf("set the nice value of thread %d to %d: %w", tid, tc.GetSchedNice(), err)
	}
	attr := &unix.SchedAttr{
		Size:     unix.SizeofSchedAttr,
		Policy:   tc.GetSchedPolicy() &^ resetOnFork,
		Priority: tc.GetSchedPrio(),
		Nice:     tc.GetSchedNice(),
	}
	if tc.GetSchedPolicy()&resetOnFork != 0 {
		attr.Flags = unix.SCHED_FLAG_RESET_ON_FORK
	}
	if err := setAttributes(tid, attr, tc); err != nil {
		return err
	}
	if err := setIOPriority(tid, tc); err != nil {
		return err
	}
	set, bound := affinity(tc)
	if !bound {
		// The kernel leaves out what the machine does not have.
		for cpu := range len(set) * strconv.IntSize {
			set.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("bind thread %d to its CPUs (%d of them; this machine has %d): %w", tid, set.Count(), runtime.NumCPU(), err)
	}
	return nil
}
