// SPDX-License-Identifier: Apache-2.0

package maps

import "strings"

// Perms are the permissions of a mapping.
type Perms uint8

// The permissions, and whether writes go to the mapped object (MAP_SHARED).
const (
	PermRead Perms = 1 << iota
	PermWrite
	PermExec
	PermShared
)

// String writes them as /proc/PID/maps does, such as "r-xp".
func (p Perms) String() string {
	b := []byte("---p")
	for i, c := range []byte("rwxs") {
		if p&(1<<i) != 0 {
			b[i] = c
		}
	}
	return string(b)
}

// VMA is one mapping of a process.
type VMA struct {
	Start, End   uint64 // The end is the first address behind it.
	Perms        Perms
	Offset       uint64 // In the mapped file, in bytes.
	Major, Minor uint32 // Device of the mapped file.
	Inode        uint64 // 0: no file.
	// Path is the last column: a file's path in the reader's mount namespace, a
	// name in brackets such as "[heap]", "[vdso]" or "[anon:name]", one that the
	// kernel made up such as "/memfd:name" or "anon_inode:[io_uring]", or "". A
	// final " (deleted)" is cut off.
	Path string
	// Deleted says that the path ended in " (deleted)": the file is gone from
	// its folder. A file whose name really ends so is not told apart.
	Deleted bool
	Flags   Flags
	// OtherFlags are VmFlags that this package does not know, each followed by a
	// space; "" on the kernels that it was made for.
	OtherFlags string
	// ProtectionKey is the memory protection key; 0: the default one.
	ProtectionKey uint32

	// In bytes, as of the moment of reading. Rss counts pages in memory and Swap
	// those of private memory on swap; the kernel's page of zeros and pages of a
	// file count in Rss when they are mapped. If both are 0, no page is
	// populated.
	Rss, Anonymous, Swap, Locked uint64
}

// Size is the length in bytes.
func (v *VMA) Size() uint64 { return v.End - v.Start }

// Shared reports whether writes go to the mapped object.
func (v *VMA) Shared() bool { return v.Perms&PermShared != 0 }

// File reports whether something with an inode is mapped: a file, a device,
// shared memory (an anonymous shared mapping too) or the like.
func (v *VMA) File() bool { return v.Inode != 0 }

// Special reports whether the mapping is the kernel's own, such as [vdso],
// [vvar] and [vsyscall]. [heap], [stack] and named anonymous memory are not.
func (v *VMA) Special() bool {
	switch v.Path {
	case "[vdso]", "[vectors]", "[sigpage]", "[uprobes]":
		return v.Inode == 0
	}
	return v.Inode == 0 && (strings.HasPrefix(v.Path, "[vvar") || v.Path == "[vsyscall]")
}
