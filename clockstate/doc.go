// SPDX-License-Identifier: Apache-2.0

// Package clockstate is the model of crtime: what a process tree's clocks said
// when it was frozen, and what a time namespace must be told so that they go
// on from there.
//
// It is pure. It makes no system call, opens no file and keeps no state: the
// same inputs give the same plan on every machine, and a plan can be computed,
// printed, tested and refused before anything is created.
//
// # Words
//
// The freeze instant is the moment after which no thread of the tree runs. The
// resume instant, r, is the moment of the tree's first instruction after the
// restore. The outage D is the real time between them. For a clock c, H_c is
// the host's clock (the one of the initial time namespace), o_c the offset of a
// time namespace, S_c the value recorded at the freeze and T_c the value wanted
// at r. A process reads H_c + o_c, so o_c = T_c - H_c(r).
//
// # Use
//
// A dump fills a [State] and writes [Encode]'s bytes to [FileName]. A restore
// reads them with [Decode], reads the clocks of its own host, asks [NewPlan]
// for the offsets, writes these, holds the tree back until the planned resume
// instant and, with the clocks read then, has [Plan.Prove] say which promise
// holds by how much.
//
// # The promise
//
// Whatever the policy, no clock that a time namespace shifts reads less after
// the restore than it did before. That is MONOTONIC, MONOTONIC_RAW and
// MONOTONIC_COARSE, which share one offset, and BOOTTIME and BOOTTIME_ALARM,
// which share the other. The difference BOOTTIME - MONOTONIC does not shrink
// by more than the readings it is computed from can tell. A plan that cannot
// keep this is an error.
//
// # Rules
//
// Every value is a whole number of nanoseconds and every sum is checked: there
// is no floating point and no overflow. All types are plain values; functions
// neither keep nor change their arguments, so that everything may be used from
// several goroutines as long as nobody writes to the same value.
package clockstate
