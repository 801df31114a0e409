// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/proc"
)

// useCRIU is the advice for what CRIU can save.
const useCRIU = "use --engine criu"

// Survey lists what running processes and their threads have that images cannot
// describe, memory and files apart. It looks at /proc and stops nothing, so what
// it says may be out of date when it returns: Collect looks again. Processes and
// threads that end meanwhile are passed over.
func Survey(pids []int) ([]engine.Obstacle, error) {
	var found []engine.Obstacle
	for _, pid := range pids {
		here, err := surveyProcess(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		found = append(found, here...)
	}
	adjusting, err := adjusters(pids)
	return append(found, adjusting...), err
}

// surveyProcess looks at one process.
func surveyProcess(pid int) ([]engine.Obstacle, error) {
	stat, err := proc.ReadStat(pid)
	if err != nil {
		return nil, err
	}
	tids, err := proc.Threads(pid)
	if err != nil {
		return nil, err
	}
	var found []engine.Obstacle
	refuse := func(what, why string) {
		found = append(found, engine.Obstacle{PID: pid, Comm: stat.Comm, What: what, Why: why})
	}
	if stat.State == proc.Zombie || stat.State == proc.Dead {
		if len(tids) > 1 {
			refuse("first thread that has ended while others run on", "no image describes such a process")
		}
		return found, nil
	}
	if narrow(pid) {
		refuse("32-bit program", useCRIU)
	}
	what, err := strangeProfile(pid)
	if err != nil {
		return nil, err
	}
	if what != "" {
		refuse(what, "the native engine does not set security profiles: "+useCRIU)
	}
	for _, tid := range tids {
		obstacles, err := surveyThread(pid, tid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("thread %d: %w", tid, err)
		}
		for _, o := range obstacles {
			if tid != pid {
				o.what += fmt.Sprintf(" (thread %d)", tid)
			}
			refuse(o.what, o.why)
		}
	}
	return found, nil
}

// obstacle is an engine.Obstacle of whoever is being looked at.
type obstacle struct{ what, why string }

// surveyThread looks at one thread.
func surveyThread(pid, tid int) ([]obstacle, error) {
	st, err := readStatus(pid, tid)
	if err != nil {
		return nil, err
	}
	found := append(st.obstacles(), hidden(tid)...)
	attr, err := unix.SchedGetAttr(tid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, proc.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("scheduling: %w", err)
	}
	if why := policyObstacle(attr.Policy); why != "" {
		found = append(found, obstacle{"scheduling policy " + policyName(attr.Policy), why})
	}
	return found, nil
}

// obstacles says what of a thread's status stands in the way.
func (st *status) obstacles() []obstacle {
	var found []obstacle
	switch st.seccomp {
	case unix.SECCOMP_MODE_DISABLED:
	case unix.SECCOMP_MODE_STRICT:
		found = append(found, obstacle{"strict seccomp mode", "no system call can be run in it: " + useCRIU})
	default:
		found = append(found, obstacle{"seccomp filter", "the native engine does not save filters of system calls: " + useCRIU})
	}
	if slices.Contains(st.features, "shstk") {
		found = append(found, obstacle{
			"shadow stack (x86 CET)",
			"the native engine does not save it: start the program without (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)",
		})
	}
	if st.tagged {
		found = append(found, obstacle{
			"memory with tagged addresses (ARCH_ENABLE_TAGGED_ADDR)",
			"no image has a place for that: start the program without",
		})
	}
	if st.tracer != 0 {
		what := fmt.Sprintf("tracer (process %d)", st.tracer)
		if stat, err := proc.ReadStat(st.tracer); err == nil {
			what = fmt.Sprintf("tracer (process %d, %s)", st.tracer, stat.Comm)
		}
		found = append(found, obstacle{what, "a thread can have one tracer only: detach the debugger first"})
	}
	return found
}

// policyObstacle says why a scheduling policy cannot be saved; "" if it can.
func policyObstacle(policy uint32) string {
	if slices.Contains(savedPolicies(), policy) {
		return ""
	}
	return "images cannot describe it: give the thread another policy first (chrt)"
}

// policyName is a policy's name for messages.
func policyName(policy uint32) string {
	if policy == unix.SCHED_DEADLINE {
		return "SCHED_DEADLINE"
	}
	return fmt.Sprint(policy)
}

// narrow reports whether a process runs a 32-bit program. The program is what
// decides; one whose file cannot be read is looked at again by Collect.
func narrow(pid int) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	var ident [elf.EI_NIDENT]byte
	if _, err := f.ReadAt(ident[:], 0); err != nil {
		return false
	}
	return string(ident[:4]) == elf.ELFMAG && elf.Class(ident[elf.EI_CLASS]) == elf.ELFCLASS32
}

// strangeProfile describes the profile that a security module (AppArmor, SELinux)
// has given to a process, if it is not the one that crtime itself has and that a
// restored process would inherit; "" if all is well.
func strangeProfile(pid int) (string, error) {
	own, err := profile("self")
	if err != nil {
		return "", err
	}
	theirs, err := profile(fmt.Sprint(pid))
	if err != nil || theirs == own {
		return "", err
	}
	return fmt.Sprintf("security profile %q", theirs), nil
}

// profile reads a process's security profile; "" where no module has any.
func profile(pid string) (string, error) {
	data, err := proc.ReadFile("/proc/" + pid + "/attr/current")
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil // No security module answers.
	}
	if errors.Is(err, proc.ErrGone) {
		// Either the process is gone, or the kernel has no security modules.
		if _, serr := os.Stat("/proc/" + pid); serr == nil {
			return "", nil
		}
	}
	return strings.TrimRight(string(data), "\n\x00"), err
}
