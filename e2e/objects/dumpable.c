// SPDX-License-Identifier: Apache-2.0

// Whether the process may leave a core, and be looked into.

#include "objects.h"

static pid_t child;

static void other(void)
{
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    stand_by();
    same(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
}

static void set_up(void)
{
    child = start(other);
}

static void check(void)
{
    same(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
    finish(child);
}
