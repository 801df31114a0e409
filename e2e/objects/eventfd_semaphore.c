// SPDX-License-Identifier: Apache-2.0

// An event counter that is taken from one by one.

#include "objects.h"

#include <sys/eventfd.h>

static int fd;

static void set_up(void)
{
    fd = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
}

static void check(void)
{
    eventfd_t value;

    for (int i = 0; i < 3; i++) {
        must(eventfd_read(fd, &value));
        same(value, 1);
    }
    same(eventfd_read(fd, &value), -1);
}
