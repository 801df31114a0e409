// SPDX-License-Identifier: Apache-2.0

// Memory for which huge pages were asked. It may come back in plain ones, with
// the wish kept.

#include "objects.h"

enum { HUGE = 2 << 20, SIZE = 2 * HUGE };

static char *area;

static void set_up(void)
{
    char *begin = must(mmap(NULL, SIZE + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

    area = (char *)(((uintptr_t)begin + HUGE) / HUGE * HUGE);
    must(mprotect(area, SIZE, PROT_READ | PROT_WRITE));
    must(madvise(area, SIZE, MADV_HUGEPAGE));
    fill(area, HUGE, 5);
    area[HUGE + 100] = 1;
}

static void check(void)
{
    char flags[1000];

    that(filled(area, HUGE, 5));
    same(area[HUGE + 100], 1);
    area[HUGE + 100] = 0;
    that(blank(area + HUGE, HUGE));
    smaps_field(area, "VmFlags", flags);
    that(strstr(flags, " hg") != NULL);
}
