// SPDX-License-Identifier: Apache-2.0

// Who gets a signal, and which, when a descriptor becomes ready.

#include "objects.h"

static int ends[2], group[2];
static pid_t child;

static void own(int fd, int type, pid_t pid, int number)
{
    struct f_owner_ex owner = {type, pid};

    must(fcntl(fd, F_SETOWN_EX, &owner));
    must(fcntl(fd, F_SETSIG, number));
    must(fcntl(fd, F_SETFL, must(fcntl(fd, F_GETFL)) | O_ASYNC | O_NONBLOCK));
}

static void owned(int fd, int type, pid_t pid, int number)
{
    struct f_owner_ex owner;

    must(fcntl(fd, F_GETOWN_EX, &owner));
    same(owner.type, type);
    same(owner.pid, pid);
    same(fcntl(fd, F_GETSIG), number);
    that(fcntl(fd, F_GETFL) & O_ASYNC);
}

static void set_up(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    must(pipe(ends));
    must(pipe(group));
    child = start(idle);
    own(ends[0], F_OWNER_PID, getpid(), SIGRTMIN + 1);
    own(group[0], F_OWNER_PGRP, getpgrp(), SIGURG);
}

static void check(void)
{
    const struct timespec soon = {2, 0};
    siginfo_t info;
    sigset_t set;

    owned(ends[0], F_OWNER_PID, getpid(), SIGRTMIN + 1);
    owned(group[0], F_OWNER_PGRP, getpgrp(), SIGURG);
    finish(child);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    same(write(ends[1], "x", 1), 1);
    same(sigtimedwait(&set, &info, &soon), SIGRTMIN + 1);
    same(info.si_fd, ends[0]);
}
