// SPDX-License-Identifier: Apache-2.0

// Timers whose expirations nobody has read: one that goes on and one that does
// not.

#include "objects.h"

#include <poll.h>
#include <sys/timerfd.h>

static int periodic, once;

static int expired(long interval)
{
    int fd = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    must(timerfd_settime(fd, 0, &(struct itimerspec){{interval, 0}, {0, 1000}}, NULL));
    same(poll(&ready, 1, 2000), 1);
    return fd;
}

static void set_up(void)
{
    periodic = expired(900);
    once = expired(0);
}

static void check(void)
{
    struct itimerspec left;
    uint64_t ticks;

    must(timerfd_gettime(periodic, &left));
    if (left.it_value.tv_sec > 900 || left.it_value.tv_sec < 870)
        fail("the timer has %ld s left, not about 900", (long)left.it_value.tv_sec);
    same(left.it_interval.tv_sec, 900);
    same(read(periodic, &ticks, 8), 8);
    same(ticks, 1);
    same(read(once, &ticks, 8), 8);
    same(ticks, 1);
    same(read(once, &ticks, 8), -1);
}
