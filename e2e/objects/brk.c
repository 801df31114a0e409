// SPDX-License-Identifier: Apache-2.0

// The heap: the program break, its contents, and that it still moves.

#include "objects.h"

enum { PAGES = 20 };

static char *begin, *end;

static void set_up(void)
{
    begin = must(sbrk(PAGES * PAGE));
    end = sbrk(0);
    fill(begin, PAGES * PAGE, 9);
}

static void check(void)
{
    that(sbrk(0) == end);
    that(filled(begin, PAGES * PAGE, 9));
    that(must(sbrk(PAGE)) == end);
    that(blank(end, PAGE));
    memset(end, 1, PAGE);
    must(sbrk(-2 * PAGE));
    that(!readable(end) && readable(begin));
    that(strstr(slurp("/proc/self/maps"), "[heap]") != NULL);
}
