// SPDX-License-Identifier: Apache-2.0

// A session whose leader has ended and whose members have nothing else in common: one
// was adopted by the root, one by a child of the root, and two are children of processes
// that have founded sessions of their own since.

#include "objects.h"

enum { TO_ROOT, TO_ADOPTER, OF_FIRST, OF_SECOND, MEMBERS };

static struct {
    pid_t leader, adopter, founders[2], members[MEMBERS];
    bool adopts;
} *shared;

static void member(int i)
{
    shared->members[i] = getpid();
    stand_by();
    same(getsid(0), shared->leader);
    same(getpgrp(), shared->leader);
}

static void to_root(void) { member(TO_ROOT); }
static void to_adopter(void) { member(TO_ADOPTER); }
static void of_first(void) { member(OF_FIRST); }
static void of_second(void) { member(OF_SECOND); }

static void passes(void)
{
    start(to_root);
    ready();
}

static void founder(int i, void (*run)(void))
{
    pid_t below = start(run);

    shared->founders[i] = must(setsid());
    stand_by();
    same(getsid(0), getpid());
    same(getsid(below), shared->leader);
    finish(below);
}

static void first(void) { founder(0, of_first); }
static void second(void) { founder(1, of_second); }

static void leader(void)
{
    shared->leader = must(setsid());
    finish(start(passes));
    ready();
    await(shared->adopts);
    start(to_adopter);
    start(first);
    start(second);
}

static void adopter(void)
{
    pid_t pid = start(leader);

    await(stat_field(shared->members[TO_ROOT], 4) == (unsigned long long)getppid());
    must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    shared->adopts = true;
    finish(pid);
    await(stat_field(shared->founders[1], 4) == (unsigned long long)getpid());
    stand_by();
    finish(shared->members[TO_ADOPTER]);
    finish(shared->founders[0]);
    finish(shared->founders[1]);
}

static void set_up(void)
{
    shared = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    shared->adopter = start(adopter);
}

static void check(void)
{
    same(kill(shared->leader, 0), -1);
    finish(shared->members[TO_ROOT]);
    finish(shared->adopter);
}
