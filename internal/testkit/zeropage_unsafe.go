// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadsFillMemory reports whether a page that is only read becomes memory of the
// process. Nearly all kernels map their one page of zeros there instead; some are made
// not to, such as those of virtual machines whose memory is handled by the page.
func ReadsFillMemory(t testing.TB) bool {
	t.Helper()
	size := os.Getpagesize()
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entry [8]byte
	if page[0] == 0 {
		at := int64(uintptr(unsafe.Pointer(&page[0]))) / int64(size)
		if _, err := f.ReadAt(entry[:], at*int64(len(entry))); err != nil {
			t.Fatal(err)
		}
	}
	const exclusive = 1 << 56 // Nobody else has it, as everybody may have the page of zeros.
	return binary.NativeEndian.Uint64(entry[:])&exclusive != 0
}
