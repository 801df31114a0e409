// SPDX-License-Identifier: Apache-2.0

// Processes whose session's and group's leaders have ended.

#include "objects.h"

static pid_t *survivor; // Shared.
static pid_t session;

static void survive(void)
{
    pid_t sid = getsid(0), group = getpgrp();

    *survivor = getpid();
    stand_by();
    same(getsid(0), sid);
    same(getpgrp(), group);
}

static void leader(void)
{
    must(setsid());
    start(survive);
    ready();
}

static void set_up(void)
{
    survivor = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    session = start(leader);
    finish(session);
    await(stat_field(*survivor, 4) == (unsigned long long)getpid());
}

static void check(void)
{
    same(getsid(*survivor), session);
    same(getpgid(*survivor), session);
    same(kill(session, 0), -1);
    finish(*survivor);
}
