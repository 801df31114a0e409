// SPDX-License-Identifier: Apache-2.0

// The mask of a new file's mode.

#include "objects.h"

static pid_t child;

static void other(void)
{
    umask(0137);
    stand_by();
    same(umask(0), 0137);
}

static void set_up(void)
{
    umask(0027);
    child = start(other);
}

static void check(void)
{
    same(umask(0), 0027);
    finish(child);
}
