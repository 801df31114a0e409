// SPDX-License-Identifier: Apache-2.0

// A process that is stopped, and goes on when it is told to.

#include "objects.h"

static pid_t child;

static void other(void)
{
    ready();
    raise(SIGSTOP);
    that(told());
}

static void set_up(void)
{
    child = start(other);
    await(stat_field(child, 3) == 'T');
}

static void check(void)
{
    await(stat_field(child, 3) == 'T'); // It may be on the way.
    for (int i = 0; i < 20; i++) {
        same(stat_field(child, 3), 'T');
        nap();
    }
    must(kill(child, SIGCONT));
    finish(child);
}
