// SPDX-License-Identifier: Apache-2.0

package maps

import "strings"

// Flags are the two-letter words of the line VmFlags in /proc/PID/smaps; see
// proc_pid_smaps(5).
type Flags uint64

// The flags, named as the words of the kernel's source (VM_ of linux/mm.h, or
// the advice of madvise(2) that sets them).
const (
	FlagRead        Flags = 1 << iota // rd
	FlagWrite                         // wr
	FlagExec                          // ex
	FlagShared                        // sh
	FlagMayRead                       // mr
	FlagMayWrite                      // mw
	FlagMayExec                       // me
	FlagMayShare                      // ms
	FlagGrowsDown                     // gd: a stack (MAP_GROWSDOWN).
	FlagPFNMap                        // pf: pages without a struct page.
	FlagLocked                        // lo: mlock.
	FlagIO                            // io: memory of a device.
	FlagSequential                    // sr: MADV_SEQUENTIAL.
	FlagRandom                        // rr: MADV_RANDOM.
	FlagDontCopy                      // dc: MADV_DONTFORK.
	FlagDontExpand                    // de: mremap must not enlarge it.
	FlagLockOnFault                   // lf: mlock2(MLOCK_ONFAULT), beside lo.
	FlagAccount                       // ac: counts as committed memory.
	FlagNoReserve                     // nr: MAP_NORESERVE.
	FlagHugeTLB                       // ht: hugetlbfs.
	FlagSync                          // sf: MAP_SYNC.
	FlagArch1                         // ar: depends on the machine.
	FlagWipeOnFork                    // wf: MADV_WIPEONFORK.
	FlagDontDump                      // dd: MADV_DONTDUMP.
	FlagSoftDirty                     // sd
	FlagMixedMap                      // mm: device memory and pages.
	FlagHugePage                      // hg: MADV_HUGEPAGE.
	FlagNoHugePage                    // nh: MADV_NOHUGEPAGE.
	FlagMergeable                     // mg: MADV_MERGEABLE.
	FlagUffdMissing                   // um: userfaultfd.
	FlagUffdWP                        // uw: userfaultfd.
	FlagUffdMinor                     // ui: userfaultfd.
	FlagBTI                           // bt: arm64 branch targets (PROT_BTI).
	FlagMTE                           // mt: arm64 memory tags (PROT_MTE).
	FlagShadowStack                   // ss: a user shadow stack.
	FlagSealed                        // sl: mseal.
	FlagDroppable                     // dp: MAP_DROPPABLE.
	FlagMaybeGuard                    // gu: may hold guard regions (MADV_GUARD_INSTALL).
)

// flagNames are the words of the flags in their order.
const flagNames = "rdwrexshmrmwmemsgdpfloiosrrrdcdelfacnrhtsfarwfddsdmmhgnhmgumuwuibtmtsssldpgu"

// flag gives the flag with a two-letter name, 0 if there is none.
func flag(name []byte) Flags {
	if len(name) != 2 {
		return 0
	}
	for i := 0; i < len(flagNames); i += 2 {
		if flagNames[i] == name[0] && flagNames[i+1] == name[1] {
			return 1 << (i / 2)
		}
	}
	return 0
}

// Has reports whether all of the given flags are set.
func (f Flags) Has(all Flags) bool { return f&all == all }

// String writes the words, separated by spaces.
func (f Flags) String() string {
	var names []string
	for i := 0; i < len(flagNames); i += 2 {
		if f&(1<<(i/2)) != 0 {
			names = append(names, flagNames[i:i+2])
		}
	}
	return strings.Join(names, " ")
}
