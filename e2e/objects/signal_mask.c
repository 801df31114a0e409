// SPDX-License-Identifier: Apache-2.0

// Each thread's own signal mask.

#include "objects.h"

#include <pthread.h>

enum { THREADS = 4 };

static pthread_t handles[THREADS];
static _Atomic int running;

static void mask(sigset_t *set, int thread)
{
    sigemptyset(set);
    for (int n = 1; n <= 64; n++)
        if (n != SIGKILL && n != SIGSTOP && n != 32 && n != 33 && n % (thread + 2) == 0)
            sigaddset(set, n);
}

static void check_mask(int thread)
{
    sigset_t now, want;

    mask(&want, thread);
    zero(pthread_sigmask(SIG_SETMASK, NULL, &now));
    for (int n = 1; n <= 64; n++)
        if (sigismember(&now, n) != sigismember(&want, n))
            fail("signal %d is %sblocked in thread %d", n, sigismember(&now, n) ? "" : "not ", thread);
}

static void *run(void *argument)
{
    int thread = (int)(intptr_t)argument;
    sigset_t set;

    mask(&set, thread);
    zero(pthread_sigmask(SIG_SETMASK, &set, NULL));
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    wait_until_told();
    check_mask(thread);
    return NULL;
}

static void set_up(void)
{
    sigset_t set;

    for (int i = 0; i < THREADS; i++)
        zero(pthread_create(&handles[i], NULL, run, (void *)(intptr_t)i));
    mask(&set, THREADS);
    zero(pthread_sigmask(SIG_SETMASK, &set, NULL));
    await(running == THREADS);
}

static void check(void)
{
    check_mask(THREADS);
    for (int i = 0; i < THREADS; i++)
        zero(pthread_join(handles[i], NULL));
}
