// SPDX-License-Identifier: Apache-2.0

// The names of a process and of its threads.

#include "objects.h"

#include <pthread.h>

static const char *const names[] = {"a name (odd)", "second\n)", "fifteen-letters"};

enum { THREADS = sizeof names / sizeof *names };

static pthread_t handles[THREADS];
static _Atomic int running;

static void *run(void *argument)
{
    char name[16];
    const char *want = argument;

    must(prctl(PR_SET_NAME, want, 0, 0, 0));
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    wait_until_told();
    must(prctl(PR_GET_NAME, name, 0, 0, 0));
    alike(name, want);
    return NULL;
}

static void set_up(void)
{
    must(prctl(PR_SET_NAME, "the leader", 0, 0, 0));
    for (int i = 0; i < THREADS; i++)
        zero(pthread_create(&handles[i], NULL, run, (void *)names[i]));
    await(running == THREADS);
}

static void check(void)
{
    char name[16];

    must(prctl(PR_GET_NAME, name, 0, 0, 0));
    alike(name, "the leader");
    for (int i = 0; i < THREADS; i++)
        zero(pthread_join(handles[i], NULL));
}
