// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func getrlimit(l *limit) int
TEXT ·getrlimit(SB),NOSPLIT,$0-16
	MOVL	$302, AX // prlimit64
	XORL	DI, DI   // this process
	MOVL	$7, SI   // RLIMIT_NOFILE
	XORL	DX, DX   // change nothing
	MOVQ	l+0(FP), R10
	SYSCALL
	MOVQ	AX, ret+8(FP)
	RET
