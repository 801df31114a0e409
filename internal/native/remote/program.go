// SPDX-License-Identifier: Apache-2.0

package remote

import "encoding/binary"

// le is the byte order of both machines.
var le = binary.LittleEndian //nolint:gochecknoglobals // A short name, never written to.

// Of an ELF file for a 64-bit machine, see elf(5).
const (
	elfHeaderSize  = 64
	elfSegmentSize = 56
	elfSegments    = 3
	elfExec        = 2 // ET_EXEC
	elfLoad        = 1 // PT_LOAD
	elfStack       = 0x6474e551
	elfX           = 1
	elfW           = 2
	elfR           = 4
)

// programEntry is where the program's code is in the file, and in the area.
const programEntry = elfHeaderSize + elfSegments*elfSegmentSize

// program is the ELF file of a program that occupies exactly the area and does
// nothing but wait. In the area's first page is the file, the rest is empty.
func program(area uint64) []byte {
	b := make([]byte, programEntry, programEntry+len(waitCode))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], elfExec)
	le.PutUint16(b[18:], elfMachine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], area+programEntry+uint64(len(syscallInstruction)))
	le.PutUint64(b[32:], elfHeaderSize) // Where the segments are listed.
	le.PutUint16(b[52:], elfHeaderSize)
	le.PutUint16(b[54:], elfSegmentSize)
	le.PutUint16(b[56:], elfSegments)
	size := uint64(programEntry + len(waitCode))
	segment{kind: elfLoad, flags: elfR | elfX, addr: area, file: size, memory: size}.put(b, 0)
	segment{kind: elfLoad, flags: elfR | elfW, addr: area + pageSize, memory: AreaSize - pageSize}.put(b, 1)
	// Without this one the kernel may make everything executable.
	segment{kind: elfStack, flags: elfR | elfW}.put(b, 2)
	return append(b, waitCode...)
}

// segment is a program header.
type segment struct {
	kind, flags        uint32
	addr, file, memory uint64
}

// put writes the i-th program header.
func (s segment) put(b []byte, i int) {
	b = b[elfHeaderSize+i*elfSegmentSize:]
	le.PutUint32(b[0:], s.kind)
	le.PutUint32(b[4:], s.flags)
	le.PutUint64(b[16:], s.addr)
	le.PutUint64(b[24:], s.addr)
	le.PutUint64(b[32:], s.file)
	le.PutUint64(b[40:], s.memory)
	le.PutUint64(b[48:], pageSize)
}
