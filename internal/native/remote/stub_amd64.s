// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"
#include "go_asm.h"

// ARG loads argument i of the call at R12 into R: the value in the table or, if
// from[i] is k > 0, the result of the table's k-th call.
#define ARG(i, R) \
	MOVQ	(entry_args+8*i)(R12), R; \
	MOVBQZX	(entry_from+i)(R12), R15; \
	TESTQ	R15, R15; \
	JZ	3(PC); \
	IMUL3Q	$entry__size, R15, R15; \
	MOVQ	(header__size-entry__size+entry_ret)(R14)(R15*1), R

// stub is copied into other processes and never called in this one. It reaches
// nothing but the table, uses no stack, and is entered in three places:
//
//	+0  one system call with the registers as they are, then as +2
//	+2  rt_sigreturn: SP is just above the first word of a signal frame
//	+9  the calls of the table at R14, then a signal to its own thread, and
//	    if nobody stops it there, as +2
//
// R12 is the current call and R13 how many are left. SYSCALL destroys RCX and
// R11 besides the result in AX.
TEXT stub<>(SB),NOSPLIT|NOFRAME,$0-0
	SYSCALL

leave:
	MOVL	$15, AX // rt_sigreturn
	SYSCALL

	MOVQ	header_count(R14), R13
	LEAQ	header__size(R14), R12

next:
	TESTQ	R13, R13
	JZ	end
	ARG(0, DI)
	ARG(1, SI)
	ARG(2, DX)
	ARG(3, R10)
	ARG(4, R8)
	ARG(5, R9)
	MOVQ	entry_nr(R12), AX
	SYSCALL
	MOVQ	AX, entry_ret(R12)
	MOVB	$1, entry_done(R12)
	CMPQ	AX, $-4095
	JCS	ok // Below it as an unsigned number: not an error.
	CMPB	entry_must(R12), $0
	JNE	end

ok:
	ADDQ	$entry__size, R12
	DECQ	R13
	JMP	next

end:
	// The signal stops a traced thread before anything is done about it. Asking
	// for the thread's number here makes the code right in a forked copy too.
	MOVL	$186, AX // gettid
	SYSCALL
	MOVQ	AX, DI
	MOVQ	header_signal(R14), SI
	MOVL	$200, AX // tkill
	SYSCALL
	JMP	leave

	// The end, for whoever copies the code.
	INT	$3
	INT	$3
	INT	$3
	INT	$3
	INT	$3
	INT	$3
	INT	$3
	INT	$3

// func stubAddress() uintptr
TEXT ·stubAddress(SB),NOSPLIT,$0-8
	LEAQ	stub<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
