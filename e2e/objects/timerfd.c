// SPDX-License-Identifier: Apache-2.0

// Timers behind descriptors: armed, periodic, absolute and disarmed.

#include "objects.h"

#include <sys/timerfd.h>

static int once, periodic, absolute, wall, idle_one;
static long long deadline, wall_deadline;

static long long now(clockid_t clock)
{
    struct timespec ts;

    must(clock_gettime(clock, &ts));
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int timer(clockid_t clock, int flags, long long value, long long interval)
{
    int fd = must(timerfd_create(clock, TFD_NONBLOCK));
    struct itimerspec spec = {
        {interval / 1000000000, interval % 1000000000}, {value / 1000000000, value % 1000000000},
    };

    must(timerfd_settime(fd, flags, &spec, NULL));
    return fd;
}

static long long remaining(int fd, long long *interval)
{
    struct itimerspec spec;

    must(timerfd_gettime(fd, &spec));
    *interval = spec.it_interval.tv_sec * 1000000000LL + spec.it_interval.tv_nsec;
    return spec.it_value.tv_sec * 1000000000LL + spec.it_value.tv_nsec;
}

static const long long second = 1000000000;

static void near(int fd, long long want, long long want_interval)
{
    long long interval, left = remaining(fd, &interval);

    same(interval, want_interval);
    // All of the test takes less than that.
    if (left > want || left < want - 30 * second)
        fail("timer %d has %lld ns left, not about %lld", fd, left, want);
}

static void set_up(void)
{
    deadline = now(CLOCK_MONOTONIC) + 1000 * second;
    wall_deadline = now(CLOCK_REALTIME) + 1000 * second;
    once = timer(CLOCK_MONOTONIC, 0, 600 * second, 0);
    periodic = timer(CLOCK_BOOTTIME, 0, 600 * second + 5, 77 * second + 3);
    absolute = timer(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, deadline, 0);
    wall = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, wall_deadline, 0);
    idle_one = timer(CLOCK_MONOTONIC, 0, 0, 0);
}

static void check(void)
{
    uint64_t ticks;
    long long interval, left;

    near(once, 600 * second, 0);
    near(periodic, 600 * second + 5, 77 * second + 3);
    same(remaining(idle_one, &interval), 0);
    left = deadline - now(CLOCK_MONOTONIC);
    // CRIU moves these by whole seconds.
    if (llabs(remaining(absolute, &interval) - left) > 2 * second)
        fail("the absolute timer has %lld ns left, not %lld", remaining(absolute, &interval), left);
    left = wall_deadline - now(CLOCK_REALTIME);
    if (llabs(remaining(wall, &interval) - left) > 2 * second)
        fail("the wall clock's timer has %lld ns left, not %lld", remaining(wall, &interval), left);
    same(read(once, &ticks, 8), -1);
    same(errno, EAGAIN);
}
