// SPDX-License-Identifier: Apache-2.0

// Package clocklog reads what the test programs say about their own clocks,
// and judges it.
//
// There are two forms. A log has one line per turn of a program's loop:
//
//	clk NUMBER REALTIME MONOTONIC RAW COARSE BOOTTIME REALTIME
//
// NUMBER counts from 0 without a gap. The clocks are in nanoseconds, read in
// that order, and "-" where the language has no way to read one. REALTIME
// encloses the others, so that a line that a freeze cut in two shows itself.
// Every other line is a note.
//
// A board is a page of memory that the C ticker shares while it spins without
// a pause. It holds the widest step that the program saw, to a fraction of a
// microsecond where a log is good to its interval. See Board.
//
// The package is pure: it takes bytes, and knows no process. It deliberately
// shares no code with package clockstate, whose results it checks.
package clocklog
