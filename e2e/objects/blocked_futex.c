// SPDX-License-Identifier: Apache-2.0

// Threads that wait for a lock, with a deadline and without.

#include "objects.h"

#include <linux/futex.h>
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t locker, waiter;
static int word;
static _Atomic int running;

static void *wait_for_lock(void *argument)
{
    running++;
    zero(pthread_mutex_lock(&mutex));
    zero(pthread_mutex_unlock(&mutex));
    return argument;
}

// wait_for_word is a wait that ends with 0 when it is woken, and also with
// EINTR when it is cut short: then it is begun again.
static void *wait_for_word(void *argument)
{
    const struct timespec long_time = {1000, 0};

    running++;
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
        if (syscall(SYS_futex, &word, FUTEX_WAIT, 0, &long_time, NULL, 0) < 0)
            that(errno == EAGAIN || errno == EINTR);
    return argument;
}

static void set_up(void)
{
    zero(pthread_mutex_lock(&mutex));
    zero(pthread_create(&locker, NULL, wait_for_lock, NULL));
    zero(pthread_create(&waiter, NULL, wait_for_word, NULL));
    await(running == 2);
    nap();
}

static void check(void)
{
    nap();
    zero(pthread_mutex_unlock(&mutex));
    zero(pthread_join(locker, NULL));
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    must(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0));
    zero(pthread_join(waiter, NULL));
}
