// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// detourPolled is where in a detour its poll is over: behind six numbers and a system
// call.
const detourPolled = 6*10 + syscallSize

// detourCode is the code of a detour that is at code and has its data at data, for a call
// whose instruction is at insn: ppoll for what the call waits for; then the registers
// again, and the slot is free; then the call, or its result. It uses no stack, and
// changes no register that a system call leaves as it is.
func detourCode(c *call, insn, code, data uint64) []byte {
	var b []byte
	// movabs loads a register with a number.
	movabs := func(prefix, op byte, value uint64) {
		b = binary.LittleEndian.AppendUint64(append(b, prefix, op), value)
	}
	rax := func(v uint64) { movabs(0x48, 0xb8, v) }
	rdi := func(v uint64) { movabs(0x48, 0xbf, v) }
	rsi := func(v uint64) { movabs(0x48, 0xbe, v) }
	rdx := func(v uint64) { movabs(0x48, 0xba, v) }
	r10 := func(v uint64) { movabs(0x49, 0xba, v) }
	r8 := func(v uint64) { movabs(0x49, 0xb8, v) }
	// jump goes to an address that stands behind it.
	jump := func(to uint64) { b = binary.LittleEndian.AppendUint64(append(b, 0xff, 0x25, 0, 0, 0, 0), to) }

	rax(unix.SYS_PPOLL)
	rdi(data)
	rsi(1)
	rdx(data + detourLimit)
	r10(0)
	r8(0)
	b = append(b, syscallInstruction...)
	rdi(c.args[0])
	rsi(c.args[1])
	rdx(c.args[2])
	r10(c.args[3])
	r8(c.args[4])

	// mov byte [inUse], 0: by its distance from the next instruction.
	const size = 7
	inUse := data + detourInUse - (code + uint64(len(b)) + size)
	b = append(binary.LittleEndian.AppendUint32(append(b, 0xc6, 0x05), uint32(inUse)), 0)

	// test rax, rax. With 0 the time is over: jz past the next jump and what makes the
	// call. Below, a handler has run, which ends the call: js past the next number too.
	const again, over = 10 + 14, 10 // Bytes.
	b = append(b, 0x48, 0x85, 0xc0, 0x74, 2+again, 0x78, again+over)

	// Something has come, or nobody will ever send.
	rax(uint64(c.number))
	jump(insn)

	eagain := -int64(unix.EAGAIN)
	rax(uint64(eagain))
	jump(insn + syscallSize)
	return b
}
