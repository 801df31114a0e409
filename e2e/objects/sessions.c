// SPDX-License-Identifier: Apache-2.0

// Sessions and process groups: a leader of its own session with a member, groups
// within the root's session, and one led by another process's child.

#include "objects.h"

static pid_t leader, group_leader, member, *inner;

static void inner_member(void)
{
    pid_t session = getsid(0);

    must(setpgid(0, 0));
    stand_by();
    same(getsid(0), session);
    same(getpgrp(), getpid());
}

static void session_leader(void)
{
    pid_t below;

    must(setsid());
    below = start(inner_member);
    *inner = below;
    stand_by();
    same(getsid(0), getpid());
    same(getpgrp(), getpid());
    same(getsid(below), getpid());
    finish(below);
}

static void leads_group(void)
{
    must(setpgid(0, 0));
    stand_by();
    same(getpgrp(), getpid());
}

static void joins_group(void)
{
    must(setpgid(0, group_leader));
    stand_by();
    same(getpgrp(), group_leader);
}

static void set_up(void)
{
    inner = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    leader = start(session_leader);
    group_leader = start(leads_group);
    member = start(joins_group);
}

static void check(void)
{
    same(getsid(0), getpid());
    same(getpgrp(), getpid());
    same(getsid(leader), leader);
    same(getpgid(member), group_leader);
    same(getsid(member), getpid());
    finish(member);
    finish(group_leader);
    finish(leader);
}
