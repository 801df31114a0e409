// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func getrlimit(l *limit) int
TEXT ·getrlimit(SB),NOSPLIT,$0-16
	MOVD	$261, R8 // prlimit64
	MOVD	ZR, R0   // this process
	MOVD	$7, R1   // RLIMIT_NOFILE
	MOVD	ZR, R2   // change nothing
	MOVD	l+0(FP), R3
	SVC
	MOVD	R0, ret+8(FP)
	RET
