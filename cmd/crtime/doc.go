// SPDX-License-Identifier: Apache-2.0

// Command crtime saves a running process tree to disk and brings it back with
// its clocks right.
//
// The command is flags and printing: what is done is in the packages checkpoint
// and restore, the model of the clocks in clockstate. Every subcommand has a
// file of its own, with an options struct, a constructor that binds flags to it,
// and a run function that gets a context, the environment and the options.
// Nothing here is global: two commands can run in one process, each with its own
// streams.
//
// Results go to standard output, everything else to standard error, so that a
// pipe gets data only. The exit codes are in exitcode.go.
package main
