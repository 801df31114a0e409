// SPDX-License-Identifier: Apache-2.0

// Package remote runs system calls in the threads of stopped processes.
//
// There are two kinds of process. A live target (Attach) is somebody's program
// in the middle of its work: whatever happens to the tracer, SIGKILL included,
// it must go on as if nothing had been. A stub (Spawn) is a process that crtime
// made and that consists of one small area of memory: restored processes grow
// out of it, and it dies with crtime.
//
// Calls are made in batches (Runner.Run), since each stop of a thread costs more
// than hundreds of calls, and in many processes at once where there are many
// (RunAll).
//
// Everything here belongs to the tracer's thread: the function that was given
// to ptrace.Run.
package remote
