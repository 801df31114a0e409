// SPDX-License-Identifier: Apache-2.0

// Package imported makes the record of a tree's clocks from images that a plain CRIU
// has dumped, in which crtime has not written one.
//
// CRIU writes what MONOTONIC and BOOTTIME read in the tree's time namespace, late in
// the dump (timens-N.img). Who reads these clocks stands in pstree.img, core-PID.img
// and ids-PID.img. What CRIU does not say is treated so that no promise is made that
// cannot be kept; see clockstate.FreezeImported. Nothing but these files is read, and
// none of them is believed further than that: the engine that rebuilds the tree checks
// the images for itself.
package imported
