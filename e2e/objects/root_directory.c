// SPDX-License-Identifier: Apache-2.0

// A process that has another root directory.

#include "objects.h"

static pid_t child;

static void other(void)
{
    char now[PATH_MAX];

    must(chroot("root"));
    must(chdir("/inside"));
    stand_by();
    that(getcwd(now, sizeof now) != NULL);
    alike(now, "/inside");
    must(access("/inside/file", F_OK));
    same(access("/proc", F_OK), -1);
    must(close(must(open("../../other", O_CREAT | O_WRONLY, 0600))));
    must(access("/other", F_OK));
}

static void set_up(void)
{
    must(mkdir("root", 0755));
    must(mkdir("root/inside", 0755));
    must(close(must(open("root/inside/file", O_CREAT | O_WRONLY, 0600))));
    child = start(other);
}

static void check(void)
{
    finish(child);
    must(access("root/other", F_OK));
}
