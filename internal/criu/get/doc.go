// SPDX-License-Identifier: Apache-2.0

// Package get holds the script behind `make criu`, and its tests. It has no Go
// code of its own.
//
// get-criu.sh prints the path of a CRIU that works on this machine; what it
// has to fetch it takes from Debian testing with private-apt.sh, into a cache,
// without a change to the system. Both say at their top how.
package get
