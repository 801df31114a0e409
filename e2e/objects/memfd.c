// SPDX-License-Identifier: Apache-2.0

// An open memfd: contents, position, seals, and a second description of it.

#include "objects.h"

static int fd, second, unnamed;

static void set_up(void)
{
    fd = must(memfd_create("a name", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    same(write(fd, "memory", 6), 6);
    must(lseek(fd, 2, SEEK_SET));
    second = must(open("/proc/self/fd/3", O_RDONLY));
    same(fd, 3);
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    unnamed = must(memfd_create("", 0));
    must(ftruncate(unnamed, 1 << 20));
    same(pwrite(unnamed, "x", 1, 1 << 19), 1);
}

static void check(void)
{
    char text[7] = {0};
    struct stat one, two;

    that(strstr(link_of("/proc/self/fd/3"), "/memfd:a name") != NULL);
    same(fcntl(fd, F_GETFD), FD_CLOEXEC);
    same(lseek(fd, 0, SEEK_CUR), 2);
    same(lseek(second, 0, SEEK_CUR), 0);
    must(fstat(fd, &one));
    must(fstat(second, &two));
    same(one.st_ino, two.st_ino);
    same(fcntl(second, F_GETFL) & O_ACCMODE, O_RDONLY);
    same(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
    same(fcntl(unnamed, F_GET_SEALS), F_SEAL_SEAL);
    same(pwrite(fd, "M", 1, 0), 1);
    same(read(second, text, 6), 6);
    alike(text, "Memory");
    must(fstat(unnamed, &one));
    same(one.st_size, 1 << 20);
    same(pread(unnamed, text, 1, 1 << 19), 1);
    same(text[0], 'x');
}
