// SPDX-License-Identifier: Apache-2.0

// Package criuimg is the set of CRIU images of one dump: everything that CRIU
// keeps about a process tree but the contents of its memory.
//
// A Set is filled by a dump and written with Write, or read with Load and
// rebuilt from. The messages are go-criu's own types, so that the images of
// either engine can be restored by the other. The form is that of CRIU 4.2:
// what only older releases wrote is an error that says so, and so is what a
// tree in the host's namespaces does not have (mounts, network namespaces).
//
// # Format
//
// An image file is two magic numbers of four bytes (inventory.img: one), then
// messages, each preceded by its size in four bytes, all little-endian. Three
// kinds of file hold raw bytes after some messages: pipes-data and fifo-data
// (PipeDataEntry.Bytes of them), sk-queues (SkPacketEntry.Length) and ghost-file
// (the rest of the file, or GhostChunkEntry.Len after each chunk). pages-N.img
// has no frame at all: it is the pages that its pagemap lists, one after another.
//
// # Trust
//
// A Set that Load returned is consistent in itself, as Check describes it:
// whoever rebuilds from it may follow its references without looking. Unknown
// fields of messages, such as those that are newer than go-criu, are kept and
// written again.
//
// A Set is not safe for concurrent use while it is changed.
package criuimg
