// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"io"
	"strings"
)

// Types of cpio entries, as in st_mode.
const (
	cpioDir     = 0o040000
	cpioRegular = 0o100000
	cpioLink    = 0o120000
)

// cpioTrailer is the name that ends an archive.
const cpioTrailer = "TRAILER!!!"

// cpioWriter writes an archive in the kernel's "newc" format, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst has it. Everything
// belongs to root. After an error, nothing more is written and err stays.
type cpioWriter struct {
	w     io.Writer
	inode uint32
	err   error
}

// entry writes one entry. The data of a link is where it points to. Its folder
// must have been written before.
func (c *cpioWriter) entry(name string, mode uint32, data []byte) {
	c.inode++
	name = strings.TrimPrefix(name, "/")
	// Inode, mode, user, group, links, time, size, device, device of the node,
	// length of the name with its zero, no checksum.
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	c.padded([]byte(header + name + "\x00"))
	c.padded(data)
}

// end writes the trailer. Another archive may follow.
func (c *cpioWriter) end() { c.entry(cpioTrailer, 0, nil) }

// padded writes data and fills up to a multiple of four bytes.
func (c *cpioWriter) padded(data []byte) {
	for _, part := range [][]byte{data, make([]byte, -len(data)&3)} {
		if c.err == nil {
			_, c.err = c.w.Write(part)
		}
	}
}
