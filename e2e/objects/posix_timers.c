// SPDX-License-Identifier: Apache-2.0

// POSIX timers: their numbers with a gap, their clocks, and whom they tell what.

#include "objects.h"

#include <pthread.h>

static timer_t plain, dropped, quiet, threaded, wall;
static volatile int got_plain, got_thread;
static pthread_t handle;
static volatile pid_t tid;

static void caught(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code != SI_TIMER)
        return;
    if (number == SIGUSR1)
        got_plain = info->si_value.sival_int;
    else if (gettid() == tid)
        got_thread = info->si_value.sival_int;
}

static void *run(void *argument)
{
    tid = gettid();
    while (!got_thread)
        nap();
    return argument;
}

static timer_t make(clockid_t clock, int notify, int number, int value)
{
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = number, .sigev_value.sival_int = value};
    timer_t timer;

    event._sigev_un._tid = tid;
    must(timer_create(clock, &event, &timer));
    return timer;
}

static void arm(timer_t timer, long seconds, long nanoseconds, long interval)
{
    must(timer_settime(timer, 0, &(struct itimerspec){{interval, 0}, {seconds, nanoseconds}}, NULL));
}

static void set_up(void)
{
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_RESTART};

    must(sigaction(SIGUSR1, &action, NULL));
    must(sigaction(SIGRTMIN + 2, &action, NULL));
    zero(pthread_create(&handle, NULL, run, NULL));
    await(tid);
    plain = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 11);
    dropped = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 12);
    quiet = make(CLOCK_BOOTTIME, SIGEV_NONE, 0, 13);
    threaded = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 14);
    wall = make(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 15);
    must(timer_delete(dropped));
    arm(plain, 500, 0, 60);
    arm(quiet, 600, 0, 0);
    arm(wall, 700, 0, 0);
}

static void near(timer_t timer, long seconds, long interval)
{
    struct itimerspec left;

    must(timer_gettime(timer, &left));
    same(left.it_interval.tv_sec, interval);
    if (left.it_value.tv_sec > seconds || left.it_value.tv_sec < seconds - 30)
        fail("a timer has %ld s left, not about %ld", (long)left.it_value.tv_sec, seconds);
}

static void check(void)
{
    struct itimerspec left;

    near(plain, 500, 60);
    near(quiet, 600, 0);
    near(wall, 700, 0);
    must(timer_gettime(threaded, &left));
    same(left.it_value.tv_sec, 0);
    same(timer_gettime(dropped, &left), -1);
    same(got_plain, 0);
    same(got_thread, 0);
    arm(plain, 0, 1000, 0);
    await(got_plain == 11);
    arm(threaded, 0, 1000, 0);
    zero(pthread_join(handle, NULL));
    same(got_thread, 14);
}
