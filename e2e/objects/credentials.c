// SPDX-License-Identifier: Apache-2.0

// Processes of other users: one with all its user and group numbers, one that has
// kept a capability.

#include "objects.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

static pid_t child, capable;

static const unsigned kept = 1 << CAP_NET_ADMIN;

static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};

static void keeps(void)
{
    struct __user_cap_data_struct data[2] = {{kept, kept, kept}, {0, 0, 0}};

    must(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    must(setresuid(1001, 1001, 1001));
    must(syscall(SYS_capset, &header, data));
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0));
    stand_by();
    must(syscall(SYS_capget, &header, data));
    same(data[0].effective, kept);
    same(data[0].permitted, kept);
    same(data[0].inheritable, kept);
    same(data[1].permitted, 0);
    same(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1);
    same(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0), 1);
    same(getuid(), 1001);
}

static void check_ids(void)
{
    uid_t uid[3];
    gid_t gid[3], groups[3];

    must(getresuid(&uid[0], &uid[1], &uid[2]));
    must(getresgid(&gid[0], &gid[1], &gid[2]));
    same(uid[0], 1001);
    same(uid[1], 1002);
    same(uid[2], 1003);
    same(setfsuid(-1), 1003);
    same(gid[0], 2001);
    same(gid[1], 2002);
    same(gid[2], 2003);
    same(setfsgid(-1), 2003);
    same(must(getgroups(3, groups)), 2);
    same(groups[0], 3001);
    same(groups[1], 3002);
}

static void other(void)
{
    const gid_t groups[] = {3001, 3002};

    must(setgroups(2, groups));
    must(setresgid(2001, 2002, 2003));
    setfsgid(2003);
    must(setresuid(1001, 1002, 1003));
    setfsuid(1003);
    check_ids();
    stand_by();
    check_ids();
}

static void set_up(void)
{
    child = start(other);
    capable = start(keeps);
}

static void check(void)
{
    finish(child);
    finish(capable);
}
