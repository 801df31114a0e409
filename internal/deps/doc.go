// SPDX-License-Identifier: Apache-2.0

// Package deps holds the rules about which package may import which, and the
// test that enforces them. It has no code of its own.
//
// Dependencies point one way: the command, then checkpoint and restore, then
// the engines, then what talks to the kernel and to files, then clockstate.
// The test asks the go command for the import graph, so that it sees what the
// compiler sees, and names the chain of imports and the reason when it fails.
// To add a rule, add a row to the table in rules_test.go. A rule that gets in
// the way is discussed with its reason, not with its wording.
package deps
