// SPDX-License-Identifier: Apache-2.0

// The areas of the command line and of the environment: written over in place,
// as daemons do to say what they are about, and in a place of their own.

#include "objects.h"

#include <linux/prctl.h>

static const char title[] = "title: of its own";
static pid_t child;

// moved puts both areas into memory that the child has mapped itself.
static void moved(void)
{
    char *area = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    struct prctl_mm_map map = {
        .start_code = stat_field(getpid(), 26),
        .end_code = stat_field(getpid(), 27),
        .start_stack = stat_field(getpid(), 28),
        .start_data = stat_field(getpid(), 45),
        .end_data = stat_field(getpid(), 46),
        .start_brk = stat_field(getpid(), 47),
        .brk = (uintptr_t)sbrk(0),
        .arg_start = (uintptr_t)area,
        .arg_end = (uintptr_t)area + 10,
        .env_start = (uintptr_t)area + 100,
        .env_end = (uintptr_t)area + 108,
        .exe_fd = -1,
    };

    memcpy(area, "a\0b c\0\0\0\0\0", 10);
    memcpy(area + 100, "NAME=hi\0", 8);
    must(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0));
    stand_by();
    that(memcmp(slurp("/proc/self/cmdline"), "a\0b c\0\0\0\0\0", 10) == 0);
    alike(slurp("/proc/self/environ"), "NAME=hi");
    same(stat_field(getpid(), 48), area);
}

static void set_up(void)
{
    child = start(moved);
    that(strlen(arguments[0]) > sizeof title);
    memset(arguments[0], 0, strlen(arguments[0]));
    memcpy(arguments[0], title, sizeof title);
}

static void check(void)
{
    const char *environment = slurp("/proc/self/environ");

    that(memmem(environment, 1 << 16, "PATH=", 5) != NULL);
    alike(slurp("/proc/self/cmdline"), title);
    same(stat_field(getpid(), 48), arguments[0]);
    finish(child);
}
