// SPDX-License-Identifier: Apache-2.0

// The list of robust locks: when a thread that holds one ends after the restore,
// the kernel hands it on.

#include "objects.h"

#include <pthread.h>

static pthread_mutex_t *lock;
static pthread_t owner;
static pid_t child;
static _Atomic int running;

static void make(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    zero(pthread_mutexattr_init(&attributes));
    zero(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    zero(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    zero(pthread_mutex_init(mutex, &attributes));
}

static void holder(void)
{
    zero(pthread_mutex_lock(&lock[0]));
    stand_by();
}

static void *run(void *argument)
{
    zero(pthread_mutex_lock(&lock[1]));
    running = 1;
    wait_until_told();
    return argument;
}

static void set_up(void)
{
    lock = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    make(&lock[0]);
    make(&lock[1]);
    child = start(holder);
    zero(pthread_create(&owner, NULL, run, NULL));
    await(running);
}

static void check(void)
{
    void *head;
    size_t length;

    must(syscall(SYS_get_robust_list, 0, &head, &length));
    that(head != NULL);
    finish(child);
    zero(pthread_join(owner, NULL));
    for (int i = 0; i < 2; i++) {
        struct timespec soon;

        must(clock_gettime(CLOCK_REALTIME, &soon));
        soon.tv_sec += 2;
        same(pthread_mutex_timedlock(&lock[i], &soon), EOWNERDEAD);
        zero(pthread_mutex_consistent(&lock[i]));
        zero(pthread_mutex_unlock(&lock[i]));
    }
}
