// SPDX-License-Identifier: Apache-2.0

// How willingly the kernel kills the process when memory runs out.

#include "objects.h"

static pid_t child;

static void set_score(const char *text)
{
    int fd = must(open("/proc/self/oom_score_adj", O_WRONLY));

    must(write(fd, text, strlen(text)));
    must(close(fd));
}

static void other(void)
{
    set_score("600");
    stand_by();
    alike(slurp("/proc/self/oom_score_adj"), "600\n");
}

static void set_up(void)
{
    set_score("300");
    child = start(other);
}

static void check(void)
{
    alike(slurp("/proc/self/oom_score_adj"), "300\n");
    finish(child);
}
