// SPDX-License-Identifier: Apache-2.0

// The address that the kernel clears when a thread ends: pthread_join waits for
// just that.

#include "objects.h"

#include <pthread.h>

static pthread_t handle;
static _Atomic int running;
static pid_t tid;

static void *run(void *argument)
{
    tid = gettid();
    running = 1;
    wait_until_told();
    that(gettid() == tid);
    return argument;
}

static void set_up(void)
{
    zero(pthread_create(&handle, NULL, run, (void *)7));
    await(running);
}

static void check(void)
{
    struct timespec soon;
    void *result;

    must(clock_gettime(CLOCK_REALTIME, &soon));
    soon.tv_sec += 3;
    zero(pthread_timedjoin_np(handle, &result, &soon));
    that(result == (void *)7);
}
