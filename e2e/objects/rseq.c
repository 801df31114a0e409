// SPDX-License-Identifier: Apache-2.0

// Restartable sequences: each thread's area is registered, and the kernel keeps
// the number of the CPU in it.

#include "objects.h"

#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>

static pthread_t handle;
static _Atomic int running;

static void check_area(void)
{
    struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    cpu_set_t all, one;

    // EBUSY: this very area is registered. It would be EINVAL for another one.
    same(syscall(SYS_rseq, area, 32, 0, RSEQ_SIG), -1);
    same(errno, EBUSY);
    must(sched_getaffinity(0, sizeof all, &all));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        unsigned seen = 0;

        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        must(sched_setaffinity(0, sizeof one, &one));
        must(syscall(SYS_getcpu, &seen, NULL, NULL));
        same(seen, cpu);
        same(area->cpu_id, cpu);
        same(area->cpu_id_start, cpu);
    }
    must(sched_setaffinity(0, sizeof all, &all));
}

static void *run(void *argument)
{
    running = 1;
    wait_until_told();
    check_area();
    return argument;
}

static void set_up(void)
{
    if (__rseq_size == 0)
        fail(LACKS "a C library that registers areas (glibc 2.35)");
    check_area();
    zero(pthread_create(&handle, NULL, run, NULL));
    await(running);
}

static void check(void)
{
    check_area();
    zero(pthread_join(handle, NULL));
}
