// SPDX-License-Identifier: Apache-2.0

// Package proc reads what /proc says about processes: who they are, which
// threads they have, whether those threads are stopped, and who their children
// are.
//
// It exists beside the general /proc libraries because a dump asks these
// questions in a tight loop while it waits for a tree to freeze: every call
// reads as few files as it can, and a process that is gone is an ordinary,
// typed answer (ErrGone), not a surprise.
//
// All functions are safe for concurrent use. Process identifiers are those of
// the caller's pid namespace.
package proc
