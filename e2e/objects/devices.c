// SPDX-License-Identifier: Apache-2.0

// The devices that are only a source or a sink.

#include "objects.h"

static int null, zeros, full, noise, more_noise;

static void set_up(void)
{
    null = must(open("/dev/null", O_RDWR | O_APPEND));
    zeros = must(open("/dev/zero", O_RDONLY));
    full = must(open("/dev/full", O_RDWR));
    noise = must(open("/dev/random", O_RDONLY | O_NONBLOCK));
    more_noise = must(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
}

static void check(void)
{
    char bytes[64] = {1};

    same(write(null, bytes, sizeof bytes), sizeof bytes);
    same(read(null, bytes, sizeof bytes), 0);
    same(fcntl(null, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    same(read(zeros, bytes, sizeof bytes), sizeof bytes);
    that(blank(bytes, sizeof bytes));
    same(write(full, bytes, 1), -1);
    same(errno, ENOSPC);
    same(read(more_noise, bytes, sizeof bytes), sizeof bytes);
    that(!blank(bytes, sizeof bytes));
    same(fcntl(noise, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    same(fcntl(more_noise, F_GETFD), FD_CLOEXEC);
    alike(link_of("/proc/self/fd/3"), "/dev/null");
}
