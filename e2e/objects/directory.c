// SPDX-License-Identifier: Apache-2.0

// An open directory: as a starting point, and half read.

#include "objects.h"

#include <dirent.h>

enum { FILES = 5 };

static int fd;
static DIR *stream;
static int seen;

static bool next(void)
{
    errno = 0;
    for (;;) {
        struct dirent *entry = readdir(stream);

        if (!entry)
            return false;
        if (entry->d_name[0] != '.')
            return true;
    }
}

static void set_up(void)
{
    must(mkdir("folder", 0700));
    fd = must(open("folder", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < FILES; i++)
        must(close(must(openat(fd, (char[]){'a' + i, 0}, O_CREAT | O_WRONLY, 0600))));
    stream = opendir("folder");
    that(stream != NULL);
    for (; seen < 2; seen++)
        that(next());
}

static void check(void)
{
    while (next())
        seen++;
    same(seen, FILES);
    must(faccessat(fd, "c", F_OK, 0));
    must(fchdir(fd));
    must(access("../folder/a", F_OK));
}
