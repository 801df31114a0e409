// SPDX-License-Identifier: Apache-2.0

// Package maps reads what address spaces consist of: the mappings of a process
// (Read, from /proc/PID/smaps) and which of their pages hold something (Pagemap,
// from /proc/PID/pagemap, with the PAGEMAP_SCAN request where the kernel has
// it).
//
// Both are exact only while every thread that shares the address space is
// stopped: the kernel hands them out piece by piece.
//
// A page that was never touched, or only read and so is the kernel's page of
// zeros, holds nothing: a fresh mapping has the same. Nor does a page of a
// private file mapping that was never written: the file has it. What is left,
// the pages a dump must save, is what Populated lists.
package maps
