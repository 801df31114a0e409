// SPDX-License-Identifier: Apache-2.0

// A descriptor that signals are read from, with one that waits.

#include "objects.h"

#include <sys/signalfd.h>

static int fd;

static void set_up(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    fd = must(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 5}));
}

static void check(void)
{
    struct signalfd_siginfo info;

    same(fcntl(fd, F_GETFD), FD_CLOEXEC);
    same(read(fd, &info, sizeof info), sizeof info);
    same(info.ssi_signo, SIGRTMIN + 3);
    same(info.ssi_int, 5);
    same(read(fd, &info, sizeof info), -1);
    same(errno, EAGAIN);
    must(kill(getpid(), SIGUSR1));
    same(read(fd, &info, sizeof info), sizeof info);
    same(info.ssi_signo, SIGUSR1);
}
