// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Options of arch_prctl(2), from the kernel's uapi/asm/prctl.h.
const (
	archGetCPUID     = 0x1011
	archSetCPUID     = 0x1012
	archGetXcompSupp = 0x1021
	archGetXcompPerm = 0x1022
	archReqXcompPerm = 0x1023
)

// xtiledata is the XSAVE component of AMX's tiles, the only one so far that a
// process has to ask for.
const xtiledata = 18

// machineThreadMarks are the marks of threads that only x86-64 has.
func machineThreadMarks() []mark {
	return []mark{{
		what: "permission to use the CPUID instruction (ARCH_SET_CPUID)", field: fieldCPUID, normal: 1, most: 1,
		ask:  question{nr: unix.SYS_ARCH_PRCTL, args: [3]uint64{archGetCPUID}},
		give: func(v uint64) (uintptr, []uint64) { return unix.SYS_ARCH_PRCTL, []uint64{archSetCPUID, v} },
	}}
}

// machineProcessMarks are the marks of processes that only x86-64 has.
func machineProcessMarks() []mark {
	return []mark{
		{
			what: "permission to use AMX (ARCH_REQ_XCOMP_PERM)", field: fieldXSAVE, most: 1 << xtiledata,
			ask:  question{nr: unix.SYS_ARCH_PRCTL, args: [3]uint64{archGetXcompPerm}, into: 1, there: true},
			keep: func(answer uint64) uint64 { return answer & (1 << xtiledata) },
			give: func(uint64) (uintptr, []uint64) {
				return unix.SYS_ARCH_PRCTL, []uint64{archReqXcompPerm, xtiledata}
			},
			fits: func(uint64) (bool, error) {
				_, supported, err := askOwn(question{nr: unix.SYS_ARCH_PRCTL, args: [3]uint64{archGetXcompSupp}, into: 1})
				if err != nil {
					return false, fmt.Errorf("this kernel does not know it: %w", err)
				}
				if supported&(1<<xtiledata) == 0 {
					return false, errors.New("this processor does not have AMX")
				}
				return true, nil
			},
		},
		{
			what: "local descriptor table (modify_ldt)",
			why:  "no image has a place for it: run the program where it needs no segments of its own",
			// Reading any of it gives as many bytes as were asked for, and none where
			// there is no table.
			ask: question{nr: unix.SYS_MODIFY_LDT, args: [3]uint64{0, 0, 8}, into: 1},
		},
	}
}
