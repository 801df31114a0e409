// SPDX-License-Identifier: Apache-2.0

// An inotify instance: its watches with their numbers.

#include "objects.h"

#include <sys/inotify.h>

static int fd, folder, file;

static void expect(int watch, uint32_t mask, const char *name)
{
    char bytes[PAGE] __attribute__((aligned(8)));
    struct inotify_event *event = (struct inotify_event *)bytes;

    must(read(fd, bytes, sizeof bytes));
    same(event->wd, watch);
    same(event->mask, mask);
    alike(event->len ? event->name : "", name);
}

static void set_up(void)
{
    int first;

    must(mkdir("folder", 0700));
    must(close(must(open("file", O_CREAT | O_WRONLY, 0600))));
    fd = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    first = must(inotify_add_watch(fd, ".", IN_DELETE));
    folder = must(inotify_add_watch(fd, "folder", IN_CREATE | IN_MOVED_TO));
    file = must(inotify_add_watch(fd, "file", IN_MODIFY | IN_ONESHOT));
    must(inotify_rm_watch(fd, first));
    expect(first, IN_IGNORED, "");
}

static void check(void)
{
    char byte;

    same(read(fd, &byte, 1), -1); // Too small for an event, or none is there.
    that(errno == EAGAIN);
    must(mkdir("folder/new", 0700));
    expect(folder, IN_CREATE | IN_ISDIR, "new");
    same(write(must(open("file", O_WRONLY)), "x", 1), 1);
    expect(file, IN_MODIFY, "");
    must(inotify_rm_watch(fd, folder));
    same(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
