// SPDX-License-Identifier: Apache-2.0

// Event counters, plain and as semaphores, shared with a child.

#include "objects.h"

#include <sys/eventfd.h>

static int plain, empty;
static pid_t child;

static void other(void)
{
    stand_by();
    must(eventfd_write(plain, 100));
}

static void set_up(void)
{
    plain = must(eventfd(0, EFD_CLOEXEC));
    must(eventfd_write(plain, 0x12345678));
    empty = must(eventfd(0, EFD_NONBLOCK));
    child = start(other);
}

static void check(void)
{
    eventfd_t value;

    finish(child);
    must(eventfd_read(plain, &value));
    same(value, 0x12345678 + 100);
    same(fcntl(plain, F_GETFD), FD_CLOEXEC);
    same(eventfd_read(empty, &value), -1);
    same(errno, EAGAIN);
}
