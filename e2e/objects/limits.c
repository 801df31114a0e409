// SPDX-License-Identifier: Apache-2.0

// Resource limits, soft and hard, of a process and its child.

#include "objects.h"

#include <sys/resource.h>

static pid_t child;

static void lower(int resource, rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = {soft, hard};

    must(setrlimit(resource, &limit));
}

static void check_limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    must(getrlimit(resource, &limit));
    same(limit.rlim_cur, soft);
    same(limit.rlim_max, hard);
}

static void other(void)
{
    lower(RLIMIT_NOFILE, 50, 60);
    lower(RLIMIT_STACK, 1 << 20, 1 << 22);
    stand_by();
    check_limit(RLIMIT_NOFILE, 50, 60);
    check_limit(RLIMIT_STACK, 1 << 20, 1 << 22);
    check_limit(RLIMIT_CORE, 0, 12345);
}

static void set_up(void)
{
    lower(RLIMIT_CORE, 0, 12345);
    lower(RLIMIT_CPU, 1000, RLIM_INFINITY);
    lower(RLIMIT_NOFILE, 100, 200);
    child = start(other);
}

static void check(void)
{
    check_limit(RLIMIT_CORE, 0, 12345);
    check_limit(RLIMIT_CPU, 1000, RLIM_INFINITY);
    check_limit(RLIMIT_NOFILE, 100, 200);
    finish(child);
}
