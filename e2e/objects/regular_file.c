// SPDX-License-Identifier: Apache-2.0

// Open files: positions, flags and descriptors, also those that share one file.

#include "objects.h"

#include <sys/resource.h>

static int reader, appender, doubled, path_only, high;
static pid_t child;

static int flags(int fd)
{
    return must(fcntl(fd, F_GETFL));
}

static long position(int fd)
{
    return must(lseek(fd, 0, SEEK_CUR));
}

static void other(void)
{
    stand_by();
    // The same file description as the parent's.
    await(position(doubled) == 7);
    must(lseek(doubled, 9, SEEK_SET));
}

static void set_up(void)
{
    int fd = must(open("data", O_RDWR | O_CREAT, 0640));

    same(write(fd, "0123456789", 10), 10);
    must(lseek(fd, 5, SEEK_SET));
    doubled = must(fcntl(fd, F_DUPFD_CLOEXEC, 30));
    must(dup2(fd, 31));
    must(close(fd));
    reader = must(open("data", O_RDONLY | O_CLOEXEC | O_NOATIME));
    must(lseek(reader, 1LL << 33, SEEK_SET));
    appender = must(open("data", O_WRONLY | O_APPEND | O_NONBLOCK | O_SYNC));
    path_only = must(open("data", O_PATH));
    high = must(fcntl(reader, F_DUPFD, 900));
    child = start(other);
}

static void check(void)
{
    char byte;

    same(position(doubled), 5);
    same(position(31), 5);
    same(position(reader), 1LL << 33);
    same(position(high), 1LL << 33);
    same(fcntl(doubled, F_GETFD), FD_CLOEXEC);
    same(fcntl(31, F_GETFD), 0);
    same(fcntl(reader, F_GETFD), FD_CLOEXEC);
    same(flags(reader) & (O_ACCMODE | O_NOATIME), O_RDONLY | O_NOATIME);
    same(flags(appender) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC), O_WRONLY | O_APPEND | O_NONBLOCK | O_SYNC);
    that(flags(path_only) & O_PATH);
    same(syscall(SYS_kcmp, getpid(), getpid(), 0, doubled, 31), 0);
    same(syscall(SYS_kcmp, getpid(), child, 0, doubled, doubled), 0);
    that(syscall(SYS_kcmp, getpid(), getpid(), 0, doubled, reader) != 0);
    same(write(appender, "A", 1), 1);
    same(pread(reader, &byte, 1, 10), 1);
    same(byte, 'A');
    must(lseek(31, 7, SEEK_SET));
    finish(child);
    same(position(doubled), 9);
    same(fcntl(appender + 100, F_GETFD), -1);
}
