// SPDX-License-Identifier: Apache-2.0

// The promise to gain no privileges by execve.

#include "objects.h"

static pid_t child;

static void other(void)
{
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    stand_by();
    same(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
}

static void set_up(void)
{
    child = start(other);
}

static void check(void)
{
    same(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    finish(child);
}
