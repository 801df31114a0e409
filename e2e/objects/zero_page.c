// SPDX-License-Identifier: Apache-2.0

// A large area that was only read: all of it is the kernel's one page of zeros,
// and must not become memory. (On a kernel that is made to do without that page it is
// memory already.)

#include "objects.h"

enum { SIZE = 64 << 20 };

static char *area;
static long used_before; // KiB.

static void set_up(void)
{
    area = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    must(madvise(area, SIZE, MADV_NOHUGEPAGE));
    for (long i = 0; i < SIZE; i += PAGE)
        that(((volatile char *)area)[i] == 0);
    area[SIZE / 2] = 1;
    used_before = smaps_field(area, "Rss", NULL);
}

static void check(void)
{
    long used = smaps_field(area, "Rss", NULL);

    // Where huge pages are made unasked, the page that was written may become one.
    if (used > used_before + 4096)
        fail("%ld KiB of the area are memory, %ld were", used, used_before);
    same(area[SIZE / 2], 1);
    area[SIZE / 2] = 0;
    for (long i = 0; i < SIZE; i += PAGE)
        that(area[i] == 0);
}
