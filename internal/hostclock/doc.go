// SPDX-License-Identifier: Apache-2.0

// Package hostclock reads the clocks of the host, that is of the initial time
// namespace, so that the values belong together, and waits for an instant on
// them.
//
// The process may itself live in a time namespace. Its own offsets are looked up
// once, by [NewReader], and taken out of every reading. That is safe: a process
// that is no longer single-threaded, as every Go program is, cannot change its
// time namespace.
//
// All functions and methods are safe for concurrent use.
package hostclock
