// SPDX-License-Identifier: Apache-2.0

// Package harness runs real programs under crtime and under plain CRIU, for
// the end to end tests, the demonstration and the benchmark.
//
// A Lab is a place to do that in: a mount namespace of its own (Enter), a
// scratch folder on tmpfs, the built command and the built test programs. The
// lab's process is a subreaper, so whatever a dump or a restore leaves behind
// becomes its child or grandchild, and can be found, reaped and killed. It
// never touches a process that it did not start.
//
// A Case is a Lab for one test: its steps end the test when they fail, and at
// its end it fails the test if a process, a mount or a file was left behind.
package harness
