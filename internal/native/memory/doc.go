// SPDX-License-Identifier: Apache-2.0

// Package memory saves and rebuilds what processes have in their address spaces.
//
// # Dump
//
// Survey says beforehand, from /proc alone, what could not be saved. Collect
// looks at stopped processes: it fills mm-PID.img (mappings, the marks that
// prctl(PR_SET_MM) sets, the auxiliary vector) and pagemap-PID.img, and the
// pagemaps of shared memory. It reads no contents. Plan.Write then copies them,
// by all cores, out of the processes into pages-N.img, whose layout is known by
// then: every byte has its place, so nobody waits for anybody.
//
// Saved are the pages that a fresh mapping would not have: anonymous memory that
// was written, pages of private file mappings that were written, and the vdso,
// which another kernel does not have. Shared anonymous memory and memfds are
// saved once for all processes, named by their inode number. Files that are
// mapped are files, and belong to package files.
//
// Beside what CRIU's images describe, fields of crtime's own (extension.go) keep the
// memory policies of mappings (mbind) and that memory which is mapped later is to be
// locked (mlockall with MCL_FUTURE), and which pages of files were mapped (resident.go).
// On which memory node a page lay is not kept.
//
// # Restore
//
// Check says whether a set can be rebuilt on this machine; Area finds room for
// the stubs. NewRebuild, Rebuild.Map, Rebuild.Fill and Rebuild.Finish then make
// the address spaces anew, in that order.
//
// # Threads
//
// Collect, Map and Finish run system calls in other processes and so belong to
// the tracer's thread. Write and Fill use many goroutines and may be called from
// any.
package memory
