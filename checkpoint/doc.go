// SPDX-License-Identifier: Apache-2.0

// Package checkpoint saves a process tree together with what its clocks said.
//
// It owns the order of things; an engine (package internal/engine) stops the
// tree and saves what it consists of. The order is:
//
//  1. The target and the image directory are checked; nothing is touched yet.
//  2. The engine begins to stop the tree. Meanwhile a watcher scans the tree's
//     threads, and at the first moment at which two scans in a row agree that
//     all of them are stopped, it reads the host's clocks: the freeze instant.
//  3. The engine collects and writes. When it is done, with the tree still
//     stopped, the reading is confirmed (the same threads, all stopped), every
//     process's own clocks are worked out, and the clock image is written.
//  4. A tree that is to die dies only after the images are complete, synced
//     and under their final name. A tree that is to run on is released first.
//
// An error at any step leaves the tree running as it was and no directory.
package checkpoint
