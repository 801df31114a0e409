// SPDX-License-Identifier: Apache-2.0

// Scheduling policies, priorities and nice values of threads and processes.

#include "objects.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static const struct {
    int policy, priority, nice;
} wanted[] = {
    {SCHED_OTHER, 0, 0}, {SCHED_OTHER, 0, 5}, {SCHED_BATCH, 0, 7},
    {SCHED_IDLE, 0, 0},  {SCHED_RR, 3, 0},    {SCHED_FIFO, 2, 0},
};

enum { THREADS = sizeof wanted / sizeof *wanted };

static pthread_t handles[THREADS];
static _Atomic int running;

static void check_thread(int i)
{
    struct sched_param parameters;

    same(must(sched_getscheduler(0)), wanted[i].policy);
    must(sched_getparam(0, &parameters));
    same(parameters.sched_priority, wanted[i].priority);
    same(getpriority(PRIO_PROCESS, gettid()), wanted[i].nice);
}

static void *run(void *argument)
{
    int i = (int)(intptr_t)argument;
    struct sched_param parameters = {.sched_priority = wanted[i].priority};

    must(sched_setscheduler(0, wanted[i].policy, &parameters));
    must(setpriority(PRIO_PROCESS, gettid(), wanted[i].nice));
    check_thread(i);
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    wait_until_told();
    check_thread(i);
    return NULL;
}

static void set_up(void)
{
    must(setpriority(PRIO_PROCESS, 0, 3));
    for (int i = 0; i < THREADS; i++)
        zero(pthread_create(&handles[i], NULL, run, (void *)(intptr_t)i));
    await(running == THREADS);
}

static void check(void)
{
    same(getpriority(PRIO_PROCESS, 0), 3);
    same(must(sched_getscheduler(0)), SCHED_OTHER);
    for (int i = 0; i < THREADS; i++)
        zero(pthread_join(handles[i], NULL));
}
