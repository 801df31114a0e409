// SPDX-License-Identifier: Apache-2.0

// Many threads, each with its number, its storage and its stack, which wait for
// one another on a lock and a condition.

#include "objects.h"

#include <pthread.h>

enum { THREADS = 64 };

static pthread_t handles[THREADS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int running, turn = -1;
static __thread int own;

static void *run(void *argument)
{
    int i = (int)(intptr_t)argument;
    pid_t tid = gettid();
    unsigned char frame[PAGE];

    own = i * 3;
    fill(frame, sizeof frame, i);
    zero(pthread_mutex_lock(&mutex));
    running++;
    while (turn != i)
        zero(pthread_cond_wait(&condition, &mutex));
    same(own, i * 3);
    same(gettid(), tid);
    that(filled(frame, sizeof frame, i));
    turn++;
    zero(pthread_cond_broadcast(&condition));
    zero(pthread_mutex_unlock(&mutex));
    return argument;
}

static int count(void)
{
    int n;

    zero(pthread_mutex_lock(&mutex));
    n = running;
    zero(pthread_mutex_unlock(&mutex));
    return n;
}

static void set_up(void)
{
    for (int i = 0; i < THREADS; i++)
        zero(pthread_create(&handles[i], NULL, run, (void *)(intptr_t)i));
    await(count() == THREADS);
}

static void check(void)
{
    void *result;

    alike(status_field(getpid(), "Threads"), "65");
    zero(pthread_mutex_lock(&mutex));
    turn = 0;
    zero(pthread_cond_broadcast(&condition));
    zero(pthread_mutex_unlock(&mutex));
    for (int i = 0; i < THREADS; i++) {
        zero(pthread_join(handles[i], &result));
        same((intptr_t)result, i);
    }
}
