// SPDX-License-Identifier: Apache-2.0

// Locks on files: of a process, of an open file, and of flock.

#include "objects.h"

#include <sys/file.h>

static int posix, open_file, flocked;
static pid_t child;

// held asks whether somebody else's lock is in the way of a byte, as a new
// description of the file sees it.
static int held(const char *name, long at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int fd = must(open(name, O_RDWR));

    must(fcntl(fd, F_OFD_GETLK, &lock));
    must(close(fd));
    return lock.l_type;
}

static void lock(int fd, int command, int type, int start)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 10};

    must(fcntl(fd, command, &lock));
}

static void other(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int fd;

    stand_by();
    must(fcntl(posix, F_GETLK, &lock));
    same(lock.l_type, F_WRLCK);
    same(lock.l_pid, getppid());
    same(held("posix", 0), F_WRLCK);
    same(held("posix", 100), F_RDLCK);
    same(held("posix", 50), F_UNLCK);
    same(held("ofd", 0), F_WRLCK);
    same(held("ofd", 20), F_RDLCK);
    same(held("ofd", 50), F_UNLCK);
    fd = must(open("flock", O_RDONLY));
    same(flock(fd, LOCK_SH | LOCK_NB), -1);
    same(errno, EWOULDBLOCK);
    must(flock(flocked, LOCK_EX | LOCK_NB)); // Shared with the parent.
}

static void set_up(void)
{
    posix = must(open("posix", O_RDWR | O_CREAT, 0600));
    open_file = must(open("ofd", O_RDWR | O_CREAT, 0600));
    flocked = must(open("flock", O_RDWR | O_CREAT, 0600));
    child = start(other);
    lock(posix, F_SETLK, F_WRLCK, 0);
    lock(posix, F_SETLK, F_RDLCK, 100);
    lock(open_file, F_OFD_SETLK, F_WRLCK, 0);
    lock(open_file, F_OFD_SETLK, F_RDLCK, 20);
    must(flock(flocked, LOCK_EX));
}

static void check(void)
{
    int fd;

    finish(child); // A process that closes a file loses its locks, so it asks.
    must(close(flocked));
    fd = must(open("flock", O_RDONLY));
    must(flock(fd, LOCK_SH | LOCK_NB));
}
