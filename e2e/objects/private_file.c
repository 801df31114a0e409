// SPDX-License-Identifier: Apache-2.0

// A private mapping of a file: changed pages are the process's own, all others
// are still the file's.

#include "objects.h"

enum { PAGES = 8, SKIPPED = 1, CHANGED = 3, ROUTED = 5 };

static int fd;
static char *area;

static void set_up(void)
{
    char page[PAGE];

    fd = must(open("mapped", O_RDWR | O_CREAT, 0600));
    for (int i = 0; i < PAGES; i++) {
        memset(page, 'a' + i, PAGE);
        same(write(fd, page, PAGE), PAGE);
    }
    // From the file's second page on.
    area = must(mmap(NULL, (PAGES - SKIPPED) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, SKIPPED * PAGE));
    area -= SKIPPED * PAGE;
    area[CHANGED * PAGE + 7] = '!';
    that(area[ROUTED * PAGE] == 'a' + ROUTED); // Read, so that it is mapped.
}

static void check(void)
{
    char byte;

    for (int i = SKIPPED; i < PAGES; i++)
        if (area[i * PAGE] != 'a' + i || area[i * PAGE + 8] != 'a' + i)
            fail("page %d begins with '%c'", i, area[i * PAGE]);
    same(area[CHANGED * PAGE + 7], '!');
    // The file has not seen the change, and the other way round: a page that was
    // never changed shows what the file holds now, one that was changed does not.
    same(pread(fd, &byte, 1, CHANGED * PAGE + 7), 1);
    same(byte, 'a' + CHANGED);
    same(pwrite(fd, "#", 1, ROUTED * PAGE), 1);
    same(area[ROUTED * PAGE], '#');
    same(pwrite(fd, "#", 1, CHANGED * PAGE), 1);
    same(area[CHANGED * PAGE], 'a' + CHANGED);
}
