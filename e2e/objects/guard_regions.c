// SPDX-License-Identifier: Apache-2.0

// Pages that are made guards inside of a mapping (MADV_GUARD_INSTALL, Linux 6.13).

#include "objects.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { PAGES = 6 };

static unsigned char *area;

static void set_up(void)
{
    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    fill(area, PAGES * PAGE, 1);
    if (madvise(area + 2 * PAGE, PAGE, MADV_GUARD_INSTALL) < 0 && errno == EINVAL)
        fail(LACKS "MADV_GUARD_INSTALL (Linux 6.13)");
    that(!readable(area + 2 * PAGE));
}

static void check(void)
{
    that(filled(area, 2 * PAGE, 1));
    that(readable(area + 3 * PAGE));
    that(!readable(area + 2 * PAGE));
    must(munmap(area + PAGE, PAGE));
    that(!readable(area + 2 * PAGE));
}
