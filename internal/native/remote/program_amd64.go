// SPDX-License-Identifier: Apache-2.0

package remote

const elfMachine = 62 // EM_X86_64

// syscallInstruction is SYSCALL.
const syscallInstruction = "\x0f\x05"

// waitCode begins with the instruction at which the area is mapped, and is
// entered behind it:
//
//	again: syscall
//	       mov $34, %eax (pause)
//	       jmp again
const waitCode = syscallInstruction + "\xb8\x22\x00\x00\x00" + "\xeb\xf7"
