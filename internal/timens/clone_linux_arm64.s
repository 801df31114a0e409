// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"
#include "go_asm.h"

// func cloneAndRun(nr, a0, a1, a2 uintptr, b *block) uintptr
//
// The calling side of the clone returns the kernel's answer. The new process
// never returns: it runs the list of system calls in b.ops.
//
// The child uses no stack, no g (R28 is the parent's; nothing here reads it) and
// calls nothing. R19 is the current op and R20 the block: SVC preserves
// everything but R0, the arguments take R0 to R5 and the number R8.
TEXT ·cloneAndRun(SB),NOSPLIT|NOFRAME,$0-48
	MOVD	nr+0(FP), R8
	MOVD	a0+8(FP), R0
	MOVD	a1+16(FP), R1
	MOVD	a2+24(FP), R2
	MOVD	b+32(FP), R20
	MOVD	ZR, R3
	MOVD	ZR, R4
	SVC
	CBZ	R0, child
	MOVD	R0, ret+40(FP)
	RET

child:
	ADD	$block_ops, R20, R19

next:
	MOVD	op_nr(R19), R8
	MOVD	(op_args+0)(R19), R0
	MOVD	(op_args+8)(R19), R1
	MOVD	(op_args+16)(R19), R2
	MOVD	(op_args+24)(R19), R3
	MOVD	(op_args+32)(R19), R4
	MOVD	ZR, R5
	// A descriptor that was not known when the list was written: the first
	// argument is the int32 that op.load points to.
	MOVD	op_load(R19), R6
	CBZ	R6, call
	MOVW	(R6), R0

call:
	SVC
	MOVD	R0, op_ret(R19)
	MOVD	op_least(R19), R6
	CMP	R6, R0
	BLT	fail
	ADD	$op__size, R19, R19
	B	next

fail:
	MOVD	R19, block_failed(R20)

exit:
	MOVD	$94, R8 // exit_group
	MOVD	$127, R0
	SVC
	B	exit
