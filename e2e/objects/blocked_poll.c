// SPDX-License-Identifier: Apache-2.0

// Threads that wait in poll, select, epoll_wait and sigwaitinfo. Linux ends some
// of these with EINTR whenever a process is stopped, so that is let pass.

#include "objects.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static int counter, epoll;
static _Atomic int running, done;
static pthread_t handles[4];

static void *in_poll(void *argument)
{
    struct pollfd one = {.fd = counter, .events = POLLIN};

    running++;
    same(retry(poll(&one, 1, 100000)), 1);
    done++;
    return argument;
}

static void *in_select(void *argument)
{
    fd_set set;

    running++;
    do {
        FD_ZERO(&set);
        FD_SET(counter, &set);
    } while (select(counter + 1, &set, NULL, NULL, NULL) < 0 && errno == EINTR);
    that(FD_ISSET(counter, &set));
    done++;
    return argument;
}

static void *in_epoll(void *argument)
{
    struct epoll_event event;

    running++;
    same(retry(epoll_wait(epoll, &event, 1, -1)), 1);
    same(event.data.u64, 5);
    done++;
    return argument;
}

static void *in_sigwait(void *argument)
{
    siginfo_t info;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    running++;
    same(retry(sigwaitinfo(&set, &info)), SIGUSR1);
    done++;
    return argument;
}

static void set_up(void)
{
    void *(*const waiters[])(void *) = {in_poll, in_select, in_epoll, in_sigwait};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    zero(pthread_sigmask(SIG_BLOCK, &set, NULL));
    counter = must(eventfd(0, 0));
    epoll = must(epoll_create1(0));
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event));
    for (int i = 0; i < 4; i++) {
        zero(pthread_create(&handles[i], NULL, waiters[i], NULL));
        await(running == i + 1);
    }
    nap();
}

static void check(void)
{
    nap();
    same(done, 0);
    must(eventfd_write(counter, 1));
    must(kill(getpid(), SIGUSR1));
    for (int i = 0; i < 4; i++)
        zero(pthread_join(handles[i], NULL));
    same(done, 4);
}
