// SPDX-License-Identifier: Apache-2.0

// loop FILE: computes for ever and checks after every round that no register
// and nothing in the red zone has changed by itself. FILE is shared memory: the
// first word counts rounds, the second is not 0 once something was wrong.

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t gpr[16];
uint8_t ymm[16][32] __attribute__((aligned(32))), want[16][32] __attribute__((aligned(32)));
uint64_t zone[16];
uint32_t mxcsr_in = 0x1f80 | 0x6000, mxcsr_out;
void spin(void);

__asm__(
".text\n.globl spin\nspin:\n"
"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
"ldmxcsr mxcsr_in(%rip)\n"
"lea want(%rip), %rax\n"
".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
"vmovdqa 32*\\i(%rax), %ymm\\i\n"
"movq $0x1111*\\i+7, -8*\\i-8(%rsp)\n"
".endr\n"
"mov $101, %rax; mov $102, %rbx; mov $103, %rdx; mov $104, %rsi; mov $105, %rdi; mov $106, %rbp\n"
"mov $108, %r8; mov $109, %r9; mov $110, %r10; mov $111, %r11; mov $112, %r12; mov $113, %r13; mov $114, %r14; mov $115, %r15\n"
"mov $20000, %rcx\n"
"1: dec %rcx; jnz 1b\n"
"mov %rax, gpr+0(%rip); mov %rbx, gpr+8(%rip); mov %rdx, gpr+16(%rip); mov %rsi, gpr+24(%rip)\n"
"mov %rdi, gpr+32(%rip); mov %rbp, gpr+40(%rip); mov %rcx, gpr+48(%rip)\n"
"mov %r8, gpr+56(%rip); mov %r9, gpr+64(%rip); mov %r10, gpr+72(%rip); mov %r11, gpr+80(%rip)\n"
"mov %r12, gpr+88(%rip); mov %r13, gpr+96(%rip); mov %r14, gpr+104(%rip); mov %r15, gpr+112(%rip)\n"
"lea ymm(%rip), %rax\n"
"lea zone(%rip), %rcx\n"
".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
"vmovdqa %ymm\\i, 32*\\i(%rax)\n"
"mov -8*\\i-8(%rsp), %rdx; mov %rdx, 8*\\i(%rcx)\n"
".endr\n"
"stmxcsr mxcsr_out(%rip)\n"
"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
"ret\n");

int main(int argc, char **argv)
{
	static const uint64_t expected[15] = {101, 102, 103, 104, 105, 106, 0, 108, 109, 110, 111, 112, 113, 114, 115};
	int fd = open(argv[1], O_RDWR);
	volatile uint64_t *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 32; j++)
			want[i][j] = 17 * i + j + 1;
	for (;;) {
		spin();
		if (memcmp(gpr, expected, sizeof expected))
			shared[1] = 1;
		if (memcmp(ymm, want, sizeof ymm))
			shared[1] = 2;
		for (int i = 0; i < 16; i++)
			if (zone[i] != 0x1111 * i + 7)
				shared[1] = 3;
		// The lowest six bits are the flags of past operations.
		if ((mxcsr_out ^ mxcsr_in) & ~0x3f)
			shared[1] = 4;
		shared[0]++;
	}
}
