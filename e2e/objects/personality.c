// SPDX-License-Identifier: Apache-2.0

// The execution domain.

#include "objects.h"

#include <sys/personality.h>

static pid_t child;

static void other(void)
{
    must(personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC));
    stand_by();
    same(personality(0xffffffff), ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
}

static void set_up(void)
{
    must(personality(UNAME26));
    child = start(other);
}

static void check(void)
{
    same(personality(0xffffffff), UNAME26);
    finish(child);
}
