// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end to end tests: real programs, dumped and restored
// by the built crtime command with a real CRIU on the running kernel, and
// judged by what they themselves wrote about their clocks.
//
// The tests need root. They run in a mount namespace of their own, see package
// harness, and take:
//
//	CRTIME_E2E_STRICT=1     fail where a program that a test needs is missing
//	CRTIME_E2E_CYCLES=500   dumps and restores in the endurance test (100)
//	CRTIME_E2E_BINARY=PATH  test this crtime rather than build one
//	CRTIME_E2E_KEEP=1       keep the files of a test that failed
//
// With -short, programs that are slow to start are left out and the loops are
// shorter.
package e2e
