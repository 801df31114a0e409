// SPDX-License-Identifier: Apache-2.0

// Memory of a memfd that two processes map, one with the descriptor and one
// without.

#include "objects.h"

enum { PAGES = 8 };

static char *area;
static int fd;
static pid_t child;

static void other(void)
{
    must(close(fd));
    stand_by();
    that(filled(area + PAGE, PAGE, 1));
    await(area[0] == 'p');
    area[2 * PAGE] = 'c';
}

static void set_up(void)
{
    fd = must(memfd_create("shared", 0));
    must(ftruncate(fd, PAGES * PAGE));
    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    fill(area + PAGE, PAGE, 1);
    child = start(other);
}

static void check(void)
{
    struct stat st;
    char byte;

    must(fstat(fd, &st));
    same(st.st_size, PAGES * PAGE);
    that(filled(area + PAGE, PAGE, 1));
    same(pwrite(fd, "p", 1, 0), 1);
    same(area[0], 'p');
    finish(child);
    same(pread(fd, &byte, 1, 2 * PAGE), 1);
    same(byte, 'c');
    that(strstr(link_of("/proc/self/fd/3"), "memfd:shared") != NULL);
    same(fd, 3);
}
