// SPDX-License-Identifier: Apache-2.0

// Anonymous memory that processes share, at different addresses and in parts.

#include "objects.h"

enum { PAGES = 16 };

static char *area;
static pid_t child;

static void other(void)
{
    char *moved = must(mremap(area, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                              must(mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))));

    that(moved != area);
    must(munmap(moved, PAGE));
    fill(moved + 5 * PAGE, PAGE, 5);
    stand_by();
    that(filled(moved + 4 * PAGE, PAGE, 4) && filled(moved + 5 * PAGE, PAGE, 5));
    await(moved[8 * PAGE] == 'p');
    moved[9 * PAGE] = 'c';
}

static void set_up(void)
{
    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    fill(area, PAGE, 0); // The child has no longer mapped it.
    fill(area + 4 * PAGE, PAGE, 4);
    child = start(other);
}

static void check(void)
{
    that(filled(area, PAGE, 0) && filled(area + 5 * PAGE, PAGE, 5) && blank(area + 6 * PAGE, PAGE));
    area[8 * PAGE] = 'p';
    finish(child);
    same(area[9 * PAGE], 'c');
}
