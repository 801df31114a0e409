// SPDX-License-Identifier: Apache-2.0

// A file that is open by a name that was removed, while another name is left.

#include "objects.h"

static int fd;

static void set_up(void)
{
    fd = must(open("first", O_RDWR | O_CREAT, 0600));
    same(write(fd, "one file", 8), 8);
    must(link("first", "second"));
    must(unlink("first"));
}

static void check(void)
{
    struct stat st, other;

    must(fstat(fd, &st));
    must(stat("second", &other));
    same(st.st_ino, other.st_ino);
    same(lseek(fd, 0, SEEK_CUR), 8);
    same(access("first", F_OK), -1);
}
