// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end to end tests: real programs, dumped and restored
// by the built crtime command with a real CRIU on the running kernel, and
// judged by what they themselves wrote about their clocks.
//
// The matrix (TestMatrix) is about one object of the kernel at a time: the small
// programs of e2e/objects each make one, and look at it again after the restore.
// Its table says which cells cannot pass and why; one that passes all the same is
// a failure, so that the table stays true.
//
// The tests need root. They run in a mount namespace of their own, see package
// harness, and take:
//
//	CRTIME_E2E_STRICT=1     fail where a program that a test needs is missing
//	CRTIME_E2E_CYCLES=500   dumps and restores in the endurance test (100)
//	CRTIME_E2E_KILLS=1000   kills of crtime in each of the tests of that (20)
//	CRTIME_E2E_CORRUPTIONS=1000  images that are spoilt (60)
//	CRTIME_E2E_SOAK=10m     how long dumps and restores are made at random (8 s)
//	CRTIME_CRUN=PATH        a crun that can checkpoint ('make crun' prints one)
//	CRTIME_E2E_BINARY=PATH  test this crtime rather than build one
//	CRTIME_E2E_KEEP=1       keep the files of a test that failed
//
// With -short, programs that are slow to start are left out and the loops are
// shorter.
package e2e
