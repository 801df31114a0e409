// SPDX-License-Identifier: Apache-2.0

// Working directories, of which one has been removed.

#include "objects.h"

static char here[PATH_MAX];
static pid_t in, removed;

static void check_in(void)
{
    char now[PATH_MAX], want[PATH_MAX + 10];

    snprintf(want, sizeof want, "%s/below", here);
    that(getcwd(now, sizeof now) != NULL);
    alike(now, want);
    must(close(must(open("file", O_CREAT | O_WRONLY, 0600))));
    must(access("../below/file", F_OK));
}

static void run_in(void)
{
    must(chdir("below"));
    stand_by();
    check_in();
}

static void run_removed(void)
{
    char now[PATH_MAX];

    must(mkdir("gone", 0700));
    must(chdir("gone"));
    must(rmdir("../gone"));
    stand_by();
    that(getcwd(now, sizeof now) == NULL);
    same(errno, ENOENT);
    same(open("file", O_CREAT | O_WRONLY, 0600), -1);
    same(errno, ENOENT);
}

static void set_up(void)
{
    that(getcwd(here, sizeof here) != NULL);
    must(mkdir("below", 0700));
    in = start(run_in);
    removed = start(run_removed);
}

static void check(void)
{
    char now[PATH_MAX];

    that(getcwd(now, sizeof now) != NULL);
    alike(now, here);
    finish(in);
    finish(removed);
}
