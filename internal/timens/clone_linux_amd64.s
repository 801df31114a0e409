// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"
#include "go_asm.h"

// func cloneAndRun(nr, a0, a1, a2 uintptr, b *block) uintptr
//
// The calling side of the clone returns the kernel's answer. The new process
// never returns: it runs the list of system calls in b.ops.
//
// The child uses no stack (its SP is only there for the kernel to be sane), no
// g (R14 and TLS are the parent's; nothing here reads them) and calls nothing.
// R12 is the current op and R13 the block: SYSCALL preserves both, while it
// destroys RCX and R11, and the arguments take DI, SI, DX, R10, R8 and R9.
TEXT ·cloneAndRun(SB),NOSPLIT|NOFRAME,$0-48
	MOVQ	nr+0(FP), AX
	MOVQ	a0+8(FP), DI
	MOVQ	a1+16(FP), SI
	MOVQ	a2+24(FP), DX
	MOVQ	b+32(FP), R13
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, ret+40(FP)
	RET

child:
	LEAQ	block_ops(R13), R12

next:
	MOVQ	op_nr(R12), AX
	MOVQ	(op_args+0)(R12), DI
	MOVQ	(op_args+8)(R12), SI
	MOVQ	(op_args+16)(R12), DX
	MOVQ	(op_args+24)(R12), R10
	MOVQ	(op_args+32)(R12), R8
	// A descriptor that was not known when the list was written: the first
	// argument is the int32 that op.load points to.
	MOVQ	op_load(R12), R9
	TESTQ	R9, R9
	JZ	call
	MOVLQSX	(R9), DI

call:
	XORL	R9, R9
	SYSCALL
	MOVQ	AX, op_ret(R12)
	CMPQ	AX, op_least(R12)
	JLT	fail
	ADDQ	$op__size, R12
	JMP	next

fail:
	MOVQ	R12, block_failed(R13)

exit:
	MOVL	$231, AX // exit_group
	MOVL	$127, DI
	SYSCALL
	JMP	exit
