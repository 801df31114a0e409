// SPDX-License-Identifier: Apache-2.0

// The signal that comes when the parent ends.

#include "objects.h"

static pid_t *orphan; // Shared.
static pid_t child;

static void below(void)
{
    sigset_t set;
    int number = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    must(prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0));
    *orphan = getpid();
    stand_by();
    must(prctl(PR_GET_PDEATHSIG, &number, 0, 0, 0));
    same(number, SIGUSR2);
    zero(sigwait(&set, &number));
    same(number, SIGUSR2);
}

static void above(void)
{
    start(below);
    stand_by();
}

static void set_up(void)
{
    orphan = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    child = start(above);
}

static void check(void)
{
    finish(child);
    finish(*orphan);
}
