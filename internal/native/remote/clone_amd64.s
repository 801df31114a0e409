// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"
#include "go_asm.h"

// func cloneAndExec(b *birth) uintptr
//
// The child uses no stack, no g and calls nothing: it shares this process's
// memory. R12 is the birth, which SYSCALL preserves.
TEXT ·cloneAndExec(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ	b+0(FP), R12
	MOVL	$435, AX // clone3
	LEAQ	birth_args(R12), DI
	MOVL	$const_cloneArgsSize, SI
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, ret+8(FP)
	RET

child:
	MOVL	$157, AX // prctl
	MOVL	$1, DI   // PR_SET_PDEATHSIG
	MOVL	$9, SI   // SIGKILL
	SYSCALL
	TESTQ	AX, AX
	JNZ	failed

	// A parent that died before that gives no signal.
	MOVL	$110, AX // getppid
	SYSCALL
	SUBQ	birth_parent(R12), AX
	JNZ	exit

	MOVL	$322, AX // execveat
	MOVQ	birth_fd(R12), DI
	LEAQ	birth_empty(R12), SI
	MOVQ	SI, DX
	MOVQ	SI, R10
	MOVL	$0x1000, R8 // AT_EMPTY_PATH
	SYSCALL

failed:
	NEGQ	AX
	MOVQ	AX, birth_errno(R12)

exit:
	MOVL	$231, AX // exit_group
	MOVL	$127, DI
	SYSCALL
	JMP	exit
