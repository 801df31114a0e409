// SPDX-License-Identifier: Apache-2.0

// Sleeps, relative and absolute: none ends before its time by the clock that the
// program sees, nor much later. One that is cut short goes on with what is left.

#include "objects.h"

#include <pthread.h>

static const long long length = 300000000;
static long long begin;
static _Atomic int running;
static pthread_t relative, absolute, loose;

static long long now(void)
{
    struct timespec ts;

    must(clock_gettime(CLOCK_MONOTONIC, &ts));
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

// slept checks a sleep that began at or after begin.
static void slept(const char *kind)
{
    long long passed = now() - begin;

    if (passed < length || passed > length + 2000000000)
        fail("a sleep (%s) of %lld ns took %lld", kind, length, passed);
}

static void *in_nanosleep(void *argument)
{
    struct timespec left = {0, length};

    running++;
    while (nanosleep(&left, &left) < 0)
        same(errno, EINTR);
    slept("relative");
    return argument;
}

static void *in_absolute(void *argument)
{
    struct timespec until = {(begin + length) / 1000000000, (begin + length) % 1000000000};
    int error;

    running++;
    while ((error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)) != 0)
        same(error, EINTR);
    slept("absolute");
    return argument;
}

// in_pause waits for a signal and for nothing else.
static void *in_pause(void *argument)
{
    running++;
    same(pause(), -1);
    same(errno, EINTR);
    return argument;
}

static void caught(int number) { (void)number; }

static void set_up(void)
{
    signal(SIGUSR1, caught);
    begin = now();
    zero(pthread_create(&relative, NULL, in_nanosleep, NULL));
    zero(pthread_create(&absolute, NULL, in_absolute, NULL));
    zero(pthread_create(&loose, NULL, in_pause, NULL));
    await(running == 3);
    nap();
}

static void check(void)
{
    that(pthread_tryjoin_np(loose, NULL) == EBUSY);
    zero(pthread_kill(loose, SIGUSR1));
    zero(pthread_join(loose, NULL));
    zero(pthread_join(relative, NULL));
    zero(pthread_join(absolute, NULL));
}
