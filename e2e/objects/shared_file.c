// SPDX-License-Identifier: Apache-2.0

// A shared mapping of a file, in two processes, with the file closed.

#include "objects.h"

enum { PAGES = 4 };

static char *area, *view;
static pid_t child;

static void other(void)
{
    stand_by();
    await(area[2 * PAGE] == 'p');
    area[3 * PAGE] = 'c';
}

static void set_up(void)
{
    int fd = must(open("mapped", O_RDWR | O_CREAT, 0600));

    must(ftruncate(fd, PAGES * PAGE));
    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    view = must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE));
    must(close(fd));
    fill(area + PAGE, PAGE, 1);
    child = start(other);
}

static void check(void)
{
    char byte;
    int fd = must(open("mapped", O_RDWR));

    that(blank(area, PAGE) && filled(area + PAGE, PAGE, 1));
    area[2 * PAGE] = 'p';
    same(pread(fd, &byte, 1, 2 * PAGE), 1);
    same(byte, 'p');
    finish(child);
    same(view[0], 'c');
    that(!writable(view));
    same(pwrite(fd, "f", 1, 0), 1);
    same(area[0], 'f');
}
