// SPDX-License-Identifier: Apache-2.0

// Package restore brings a saved process tree back with its clocks right.
//
// It owns the order of things; an engine (package internal/engine) rebuilds what
// the tree consists of. The order is:
//
//  1. Every image is checked, the clocks are decoded, and a first plan shows
//     that offsets exist for this host. Nothing has been created yet.
//  2. A time namespace is made, its offsets still unwritten.
//  3. At the last moment at which the engine allows it, the clocks are read, the
//     plan is made for the instant at which the tree is expected to be ready,
//     and the offsets are written. From then on they can never change.
//  4. The engine builds the tree. The gate holds it until the planned resume
//     instant has come and every shifted clock reads at least what it did.
//  5. The tree is released, and the proof is made from the clocks at release.
//
// An error at any step leaves nothing of the tree.
package restore
