// SPDX-License-Identifier: Apache-2.0

// Package get holds the scripts behind `make criu` and `make crun`, and their
// tests. It has no Go code of its own.
//
// get-criu.sh prints the path of a CRIU that works on this machine, and
// get-crun.sh that of a crun which can checkpoint, for the tests. How such a
// program is found, kept in a cache and wrapped is in private-program.sh; what
// has to be fetched comes from Debian testing with private-apt.sh, without a
// change to the system. All say at their top how.
package get
