// SPDX-License-Identifier: Apache-2.0

// Files that have been removed but are still open: contents, holes, mode, and one
// whose name another file has taken.

#include "objects.h"

static int twice[2], sparse, taken, new;

static void set_up(void)
{
    twice[0] = must(open("gone", O_RDWR | O_CREAT, 0600));
    same(write(twice[0], "still here", 10), 10);
    twice[1] = must(open("gone", O_RDONLY));
    must(unlink("gone"));
    sparse = must(open("sparse", O_RDWR | O_CREAT, 0600));
    must(ftruncate(sparse, 1 << 19));
    same(pwrite(sparse, "end", 3, (1 << 19) - 3), 3);
    must(fchmod(sparse, 0604));
    must(unlink("sparse"));
    taken = must(open("taken", O_RDWR | O_CREAT, 0600));
    same(write(taken, "old", 3), 3);
    must(unlink("taken"));
    new = must(open("taken", O_RDWR | O_CREAT, 0600));
    same(write(new, "new", 3), 3);
}

static void check(void)
{
    char text[11] = {0};
    struct stat st, other;

    same(lseek(twice[0], 0, SEEK_CUR), 10);
    same(read(twice[1], text, 10), 10);
    alike(text, "still here");
    same(pwrite(twice[0], "S", 1, 0), 1);
    same(pread(twice[1], text, 1, 0), 1);
    same(text[0], 'S');
    must(fstat(twice[0], &st));
    same(st.st_nlink, 0);
    must(fstat(sparse, &st));
    same(st.st_nlink, 0);
    same(st.st_size, 1 << 19);
    same(st.st_mode & 07777, 0604);
    that(st.st_blocks * 512 <= 4 * PAGE);
    same(pread(sparse, text, 3, (1 << 19) - 3), 3);
    that(memcmp(text, "end", 3) == 0);
    same(pread(taken, text, 3, 0), 3);
    that(memcmp(text, "old", 3) == 0);
    same(pread(new, text, 3, 0), 3);
    that(memcmp(text, "new", 3) == 0);
    must(fstat(new, &st));
    must(stat("taken", &other));
    same(st.st_ino, other.st_ino);
    same(access("gone", F_OK), -1);
    same(access("sparse", F_OK), -1);
}
