// SPDX-License-Identifier: Apache-2.0

// bare FILE: counts as loop does, without a library: there is no code in it that
// handlers of signals return to. Compiled with -m32 it is a 32-bit program.

#include <stdint.h>

#ifdef __i386__
#define SYS_OPEN 5
#define SYS_MMAP 192 // mmap2: the offset counts pages.
#define INSTRUCTION "int $0x80"
__asm__(".globl _start\n_start: mov %esp, %eax; push %eax; call run");
#else
#define SYS_OPEN 2
#define SYS_MMAP 9
__asm__(".globl _start\n_start: mov %rsp, %rdi; call run");
#endif

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	long result;
#ifdef __i386__
	long six[6] = {a, b, c, d, e, f};
	__asm__ volatile("push %%ebp; mov 20(%%eax), %%ebp; push %%ebx\n"
			 "mov 0(%%eax), %%ebx; mov 16(%%eax), %%edi; mov 12(%%eax), %%esi; mov 4(%%eax), %%ecx; push %%edx; mov 8(%%eax), %%edx; pop %%eax\n"
			 "int $0x80; pop %%ebx; pop %%ebp"
			 : "=a"(result) : "a"(six), "d"(nr) : "ecx", "esi", "edi", "memory");
#else
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall; nop; nop; nop" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
#endif
	return result;
}

__attribute__((used)) void run(long *stack)
{
	long fd = call(SYS_OPEN, stack[2], 2, 0, 0, 0, 0);
	volatile uint64_t *shared = (void *)call(SYS_MMAP, 0, 4096, 3, 1, fd, 0);
	for (;;)
		shared[0]++;
}
