// SPDX-License-Identifier: Apache-2.0

// An epoll instance: whom it watches, for what and with which data, also another
// instance, and what is ready already.

#include "objects.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static int outer, inner, level, edge, once, number;

static void watch(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};

    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

// events waits for as many events as are ready and adds their data up.
static uint64_t events(int epoll)
{
    struct epoll_event list[8];
    uint64_t sum = 0;
    int n = retry(epoll_wait(epoll, list, 8, 0));

    for (int i = 0; i < n; i++)
        sum += list[i].data.u64;
    return sum;
}

static void set_up(void)
{
    outer = must(epoll_create1(EPOLL_CLOEXEC));
    inner = must(epoll_create1(0));
    level = must(eventfd(0, 0));
    edge = must(eventfd(0, 0));
    once = must(eventfd(0, 0));
    number = must(dup2(level, 50));
    watch(inner, level, EPOLLIN, 1);
    watch(inner, edge, EPOLLIN | EPOLLET, 1ULL << 40);
    watch(inner, once, EPOLLIN | EPOLLONESHOT, 100);
    watch(outer, inner, EPOLLIN, 7);
    watch(outer, number, EPOLLIN, 1000);
    must(eventfd_write(once, 1));
    same(events(inner), 100); // From now on it is disarmed.
}

static void check(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 200};

    same(fcntl(outer, F_GETFD), FD_CLOEXEC);
    same(events(inner), 0);
    same(events(outer), 0);
    must(eventfd_write(level, 1));
    same(events(inner), 1);
    same(events(inner), 1);
    same(events(outer), 1007);
    must(eventfd_write(edge, 1));
    same(events(inner), 1 + (1ULL << 40));
    same(events(inner), 1);
    must(epoll_ctl(inner, EPOLL_CTL_MOD, once, &event));
    same(events(inner), 201);
}
