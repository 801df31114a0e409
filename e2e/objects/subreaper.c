// SPDX-License-Identifier: Apache-2.0

// A process that adopts orphans, one that it has adopted, and one that it adopts
// after the restore.

#include "objects.h"

static pid_t *orphans; // Shared.
static pid_t parent_of_late;

static void early(void)
{
    orphans[0] = getpid();
    stand_by();
}

static void late(void)
{
    orphans[1] = getpid();
    ready();
    await(getppid() == orphans[2]);
}

static void gone_at_once(void)
{
    start(early);
    ready();
}

static void gone_later(void)
{
    start(late);
    stand_by();
}

static void set_up(void)
{
    orphans = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    orphans[2] = getpid();
    must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    finish(start(gone_at_once));
    parent_of_late = start(gone_later);
}

static void check(void)
{
    int on = 0;

    must(prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0));
    same(on, 1);
    same(stat_field(orphans[0], 4), getpid());
    finish(orphans[0]);
    finish(parent_of_late);
    finish(orphans[1]);
}
