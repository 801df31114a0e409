// SPDX-License-Identifier: Apache-2.0

// The CPUs that each thread may run on, and how late its timers may be.

#include "objects.h"

#include <pthread.h>
#include <sched.h>

static pthread_t handle;
static _Atomic int running;
static cpu_set_t first;

static void *run(void *argument)
{
    cpu_set_t now;

    must(sched_setaffinity(0, sizeof first, &first));
    must(prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0));
    running = 1;
    wait_until_told();
    must(sched_getaffinity(0, sizeof now, &now));
    if (!CPU_EQUAL(&now, &first))
        fail("the thread may run on %d CPUs, not on 1", CPU_COUNT(&now));
    same(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 123456);
    return argument;
}

static void set_up(void)
{
    cpu_set_t all;
    int cpu = 0;

    must(sched_getaffinity(0, sizeof all, &all));
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&first);
    CPU_SET(cpu, &first);
    zero(pthread_create(&handle, NULL, run, NULL));
    await(running);
}

static void check(void)
{
    cpu_set_t now;

    must(sched_getaffinity(0, sizeof now, &now));
    that(!CPU_EQUAL(&now, &first) || CPU_COUNT(&now) == 1);
    zero(pthread_join(handle, NULL));
}
