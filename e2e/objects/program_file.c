// SPDX-License-Identifier: Apache-2.0

// The link to the program, for one that was copied and one that was removed.

#include "objects.h"

static pid_t copied, removed;
static char own[PATH_MAX], here[PATH_MAX];

static void copy(const char *from, const char *to)
{
    char bytes[PAGE];
    int in = must(open(from, O_RDONLY)), out = must(open(to, O_WRONLY | O_CREAT, 0700));
    ssize_t n;

    while ((n = must(read(in, bytes, sizeof bytes))) > 0)
        same(write(out, bytes, n), n);
    must(close(in));
    must(close(out));
}

// again runs a copy, which comes by in set_up.
static void again(const char *name)
{
    char number[12];

    snprintf(number, sizeof number, "%d", parent);
    copy("/proc/self/exe", name);
    must(execl(name, name, number, name, here, NULL));
}

static void run_copied(void) { again("copied"); }
static void run_removed(void) { again("removed"); }

static void be_copy(void)
{
    char want[2 * PATH_MAX];
    bool gone = strcmp(arguments[2], "removed") == 0;

    parent = atoi(arguments[1]);
    snprintf(want, sizeof want, "%s/%s%s", arguments[3], arguments[2], gone ? " (deleted)" : "");
    if (gone)
        must(unlink("removed"));
    alike(link_of("/proc/self/exe"), want);
    stand_by();
    if (gone)
        that(strstr(link_of("/proc/self/exe"), "(deleted)") != NULL);
    else
        alike(link_of("/proc/self/exe"), want);
    _exit(0);
}

static void set_up(void)
{
    if (arguments[1])
        be_copy();
    that(getcwd(here, sizeof here) != NULL);
    strcpy(own, link_of("/proc/self/exe"));
    copied = start(run_copied);
    removed = start(run_removed);
}

static void check(void)
{
    alike(link_of("/proc/self/exe"), own);
    finish(copied);
    finish(removed);
}
