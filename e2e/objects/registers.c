// SPDX-License-Identifier: Apache-2.0

// General, x87, SSE, AVX and AVX-512 registers of threads that are stopped in the
// midst of computing, and rounding modes.

#include "objects.h"

#include <fenv.h>
#include <pthread.h>
#include <stddef.h>

#if !defined(__x86_64__)

static volatile double third = 3;

static void set_up(void) { must(fesetround(FE_UPWARD)); }
static void check(void) { same(fegetround(), FE_UPWARD); that(1 / third > 1.0 / 3); }

#else

enum { GENERAL = 11, VECTORS = 16 };

// spun is what a thread puts into registers, and what it found there in the end.
struct spun {
    uint64_t general_in[GENERAL], general_out[GENERAL];
    uint8_t in[VECTORS][64], out[VECTORS][64];
    volatile int stop;
    void (*turn)(struct spun *);
    int bytes; // Of a vector register.
    double pi;
};

// The general registers but rsp, rbp, rdi (the struct) and rax (a scratch one,
// which is loaded anew each turn).
#define GENERAL_LIST(op)                                                                      \
    op("rbx", "0") op("rcx", "8") op("rdx", "16") op("rsi", "24") op("r8", "32") op("r9", "40") \
    op("r10", "48") op("r11", "56") op("r12", "64") op("r13", "72") op("r14", "80")
#define LOAD(name, offset) "movq " offset "(%%rdi), %%" name "\n\t"
#define STORE(name, offset) "movq %%" name ", 88+" offset "(%%rdi)\n\t"
#define GENERAL_NAMES "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14"

static void spin_general(struct spun *s)
{
    __asm__ volatile(GENERAL_LIST(LOAD)
                     "fldpi\n\t"
                     "1: pause\n\t"
                     "movl %c[stop](%%rdi), %%eax\n\t"
                     "testl %%eax, %%eax\n\t"
                     "jz 1b\n\t"
                     "fstpl %c[pi](%%rdi)\n\t" GENERAL_LIST(STORE)
                     :
                     : "D"(s), [stop] "i"(offsetof(struct spun, stop)), [pi] "i"(offsetof(struct spun, pi))
                     : GENERAL_NAMES, "st", "cc", "memory");
}

#define VECTOR_LIST(op, kind)                                                                  \
    op(kind, "0") op(kind, "1") op(kind, "2") op(kind, "3") op(kind, "4") op(kind, "5")       \
    op(kind, "6") op(kind, "7") op(kind, "8") op(kind, "9") op(kind, "10") op(kind, "11")     \
    op(kind, "12") op(kind, "13") op(kind, "14") op(kind, "15")
#define MOVE_IN_xmm(n) "movdqu 64*" n "(%%rsi), %%xmm" n "\n\t"
#define MOVE_OUT_xmm(n) "movdqu %%xmm" n ", 64*" n "(%%rdx)\n\t"
#define MOVE_IN_ymm(n) "vmovdqu 64*" n "(%%rsi), %%ymm" n "\n\t"
#define MOVE_OUT_ymm(n) "vmovdqu %%ymm" n ", 64*" n "(%%rdx)\n\t"
#define MOVE_IN_zmm(n) "vmovdqu64 64*" n "(%%rsi), %%zmm" n "\n\t"
#define MOVE_OUT_zmm(n) "vmovdqu64 %%zmm" n ", 64*" n "(%%rdx)\n\t"
#define VECTOR_NAMES                                                                             \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
    "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define MOVE_IN(kind, n) MOVE_IN_##kind(n)
#define MOVE_OUT(kind, n) MOVE_OUT_##kind(n)

#define SPINNER(kind)                                                                            \
    static void spin_##kind(struct spun *s)                                                      \
    {                                                                                            \
        __asm__ volatile(VECTOR_LIST(MOVE_IN, kind)                                              \
                         "1: pause\n\t"                                                          \
                         "cmpl $0, (%%rdi)\n\t"                                                  \
                         "je 1b\n\t" VECTOR_LIST(MOVE_OUT, kind)                                 \
                         :                                                                       \
                         : "D"(&s->stop), "S"(s->in), "d"(s->out)                                \
                         : VECTOR_NAMES, "cc", "memory");                                        \
    }

SPINNER(xmm)
SPINNER(ymm)
SPINNER(zmm)

static struct spun threads[4];
static pthread_t handles[4];
static int count;

static void *run(void *s)
{
    ((struct spun *)s)->turn(s);
    return NULL;
}

static void add(void (*turn)(struct spun *), int bytes)
{
    struct spun *s = &threads[count];

    fill(s->general_in, sizeof s->general_in, count);
    fill(s->in, sizeof s->in, 100 + count);
    s->turn = turn;
    s->bytes = bytes;
    zero(pthread_create(&handles[count], NULL, run, s));
    count++;
}

static void set_up(void)
{
    must(fesetround(FE_UPWARD));
    add(spin_general, 0);
    add(spin_xmm, 16);
    if (__builtin_cpu_supports("avx"))
        add(spin_ymm, 32);
    if (__builtin_cpu_supports("avx512f"))
        add(spin_zmm, 64);
    for (int i = 0; i < 5; i++)
        nap(); // They spin by now.
}

static void check(void)
{
    uint32_t mxcsr = __builtin_ia32_stmxcsr();

    for (int i = 0; i < count; i++) {
        threads[i].stop = 1;
        zero(pthread_join(handles[i], NULL));
    }
    for (int i = 0; i < GENERAL; i++)
        same(threads[0].general_out[i], threads[0].general_in[i]);
    that(threads[0].pi > 3.14159265358 && threads[0].pi < 3.14159265359);
    for (int i = 1; i < count; i++)
        for (int j = 0; j < VECTORS; j++)
            if (memcmp(threads[i].in[j], threads[i].out[j], threads[i].bytes))
                fail("vector register %d of %d bytes changed", j, threads[i].bytes);
    same(fegetround(), FE_UPWARD);
    same(mxcsr >> 13 & 3, 2);
}

#endif
