// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/internal/engine"
	"github.com/crtime/crtime/internal/native/maps"
	"github.com/crtime/crtime/internal/proc"
)

// refuse turns obstacles into an error.
func refuse(all []engine.Obstacle, err error) error {
	for _, o := range all {
		err = errors.Join(err, fmt.Errorf("%w: %s", engine.ErrUnsupported, o))
	}
	return err
}

// useCRIU is the advice for what CRIU can save.
const useCRIU = "dump with --engine criu"

// wordReasons are the mappings that cannot be saved because of a word in their
// VmFlags.
var wordReasons = []struct { //nolint:gochecknoglobals // A table that is never changed.
	word      maps.Flags
	what, why string
}{
	{maps.FlagHugeTLB, "memory of hugetlb pages", useCRIU},
	{maps.FlagUffdMissing, "memory that a userfaultfd watches", "end whoever serves its page faults first"},
	{maps.FlagUffdWP, "memory that a userfaultfd watches", "end whoever serves its page faults first"},
	{maps.FlagUffdMinor, "memory that a userfaultfd watches", "end whoever serves its page faults first"},
	{maps.FlagShadowStack, "shadow stack", "start the program without shadow stacks (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)"},
	{maps.FlagMTE, "memory with tags (PROT_MTE)", "the images have no place for the tags"},
	{maps.FlagBTI, "memory with guarded branches (PROT_BTI)", "the images have no place for that protection"},
	{maps.FlagSync, "mapping of persistent memory (MAP_SYNC)", "the images have no place for that"},
	{maps.FlagSealed, "sealed mapping (mseal)", "the images have no place for the seal"},
	{maps.FlagIO, "memory of a device", "devices cannot be saved"},
	{maps.FlagPFNMap, "memory of a device", "devices cannot be saved"},
}

// obstacle says what a mapping is and why it cannot be saved; "" if it can.
func (r region) obstacle() (what, why string) {
	if r.Special() {
		if r.Path == "[uprobes]" {
			return "mapping [uprobes]", "end whoever traces the program with uprobes first"
		}
		return "", ""
	}
	if what, why = r.kindObstacle(); what != "" {
		return what, why
	}
	for _, w := range wordReasons {
		if r.Flags.Has(w.word) {
			return w.what, w.why
		}
	}
	switch {
	case r.ProtectionKey != 0:
		return "mapping with a memory protection key", "the images have no place for the key"
	case r.End > taskSize:
		return "mapping above 128 TiB", "only four levels of page tables are supported"
	}
	return "", ""
}

// kindObstacle looks at what is behind a mapping.
func (r region) kindObstacle() (what, why string) {
	if strings.HasPrefix(r.Path, "/SYSV") && !r.File() {
		// The first segment of a machine has the inode number 0.
		return sysV()
	}
	if !r.File() {
		return "", ""
	}
	kind := r.object.Mode & unix.S_IFMT
	switch {
	case strings.HasPrefix(r.Path, "anon_inode:[io_uring]"):
		return "io_uring", "its queues are the kernel's. Current versions of node always use it: set the sysctl kernel.io_uring_disabled to 2 before starting the program"
	case strings.HasPrefix(r.Path, "anon_inode:"):
		return fmt.Sprintf("mapping of %s", r.Path), "such objects of the kernel cannot be saved"
	case r.Path == "/[aio]":
		return "ring of asynchronous I/O (io_setup)", useCRIU
	case r.Path == "/secretmem":
		return "secret memory (memfd_secret)", "nobody else can read it"
	case strings.HasPrefix(r.Path, "/SYSV") && r.ofSharedMemory():
		return sysV()
	case r.link == "":
		return fmt.Sprintf("mapping of %s", r.Path), "the kernel shows no file behind it"
	case kind == unix.S_IFSOCK:
		return "mapped ring of a packet socket", useCRIU
	// /dev/zero, a private mapping of which is anonymous memory.
	case kind == unix.S_IFCHR && r.object.Rdev == unix.Mkdev(1, 5) && !r.Shared():
		return "", ""
	case kind == unix.S_IFCHR, kind == unix.S_IFBLK:
		return fmt.Sprintf("mapping of the device %s", r.Path), "devices cannot be saved"
	case kind != unix.S_IFREG:
		return fmt.Sprintf("mapping of %s", r.Path), "only regular files can be mapped anew"
	}
	return "", ""
}

// sysV is the obstacle of shared memory that has a name in the IPC namespace.
func sysV() (what, why string) {
	return "System V shared memory segment", "it needs an IPC namespace of its own: " + useCRIU
}

// regionObstacles lists what cannot be saved of one process, each kind once.
func regionObstacles(pid int, regions []region) []engine.Obstacle {
	var out []engine.Obstacle
	for _, r := range regions {
		what, why := r.obstacle()
		if what == "" || slices.ContainsFunc(out, func(o engine.Obstacle) bool { return strings.HasPrefix(o.What, what+" (") }) {
			continue
		}
		out = append(out, obstacle(pid, fmt.Sprintf("%s (at %x)", what, r.Start), why))
	}
	return out
}

// obstacle is an obstacle of a process; it gets the process's name.
func obstacle(pid int, what, why string) engine.Obstacle {
	o := engine.Obstacle{PID: pid, What: what, Why: why}
	if st, err := proc.ReadStat(pid); err == nil {
		o.Comm = st.Comm
	}
	return o
}

// kcmpVM is KCMP_VM of the kernel's uapi/linux/kcmp.h.
const kcmpVM = 1

// sharedSpaces lists processes that have one address space in common: those of
// vfork and of clone with CLONE_VM alone. Zombies have none.
func sharedSpaces(pids []int) ([]engine.Obstacle, error) {
	var failed error
	compare := func(a, b int) int {
		order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
		if errno != 0 {
			failed = fmt.Errorf("compare the memory of processes %d and %d (kcmp): %w", a, b, errno)
			return cmp.Compare(a, b)
		}
		// The kernel gives 1 for less and 2 for greater.
		return [...]int{0, -1, 1, 1}[order&3]
	}
	var living []int
	for _, pid := range pids {
		st, err := proc.ReadStat(pid)
		if err != nil {
			return nil, err
		}
		if st.State != proc.Zombie && st.State != proc.Dead {
			living = append(living, pid)
		}
	}
	slices.SortStableFunc(living, compare)
	var out []engine.Obstacle
	for i := 1; i < len(living) && failed == nil; i++ {
		if compare(living[i-1], living[i]) == 0 {
			out = append(out, obstacle(living[i], fmt.Sprintf("memory in common with process %d (vfork, or clone with CLONE_VM)", living[i-1]),
				"try again when one of them has called exec or ended"))
		}
	}
	return out, failed
}

// outsiders finds processes that are not among pids but have mapped one of
// these objects of anonymous shared memory: after a restore they would no longer
// share it.
func outsiders(inodes []uint64, pids []int) ([]engine.Obstacle, error) {
	if len(inodes) == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []engine.Obstacle
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || slices.Contains(pids, pid) {
			continue
		}
		if inode := mapsOne(pid, inodes); inode != 0 {
			out = append(out, obstacle(pids[0], fmt.Sprintf("shared memory in common with process %d, which is not dumped", pid),
				"dump that one with it, or end it first"))
		}
	}
	return out, nil
}

// mapsOne returns the first of the sorted objects of anonymous shared memory
// that a process maps; 0: none. A process that cannot be looked at has none: it
// has ended, or it is the kernel's.
func mapsOne(pid int, inodes []uint64) uint64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	all, err := maps.Parse(f)
	if err != nil {
		return 0
	}
	for _, v := range all {
		if v.Path != "/dev/zero" || !v.Deleted {
			continue
		}
		if _, found := slices.BinarySearch(inodes, v.Inode); found {
			return v.Inode
		}
	}
	return 0
}
