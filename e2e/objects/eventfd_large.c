// SPDX-License-Identifier: Apache-2.0

// An event counter that is larger than the one that eventfd(2) can make.

#include "objects.h"

#include <sys/eventfd.h>

static int fd;

static void set_up(void)
{
    fd = must(eventfd(0, 0));
    must(eventfd_write(fd, 0x123456789));
}

static void check(void)
{
    eventfd_t value;

    must(eventfd_read(fd, &value));
    same(value, 0x123456789);
}
