// SPDX-License-Identifier: Apache-2.0

// Pipes with what is in them, between processes and within one, with their size,
// and one without a reader.

#include "objects.h"

enum { WAITING = 70000, SIZE = 1 << 17 };

static int down[2], up[2], lonely[2];
static pid_t child;
static unsigned char data[WAITING];

static void other(void)
{
    unsigned char got[WAITING];
    size_t length = 0;

    must(close(down[1]));
    must(close(up[0]));
    stand_by();
    while (length < WAITING)
        length += retry(read(down[0], got + length, WAITING - length));
    that(memcmp(got, data, WAITING) == 0);
    same(retry(read(down[0], got, 1)), 0);
    same(write(up[1], "heard", 5), 5);
}

static void set_up(void)
{
    fill(data, WAITING, 8);
    must(pipe(down));
    must(pipe2(up, O_NONBLOCK));
    must(pipe(lonely));
    must(close(lonely[0]));
    must(fcntl(down[1], F_SETPIPE_SZ, SIZE));
    same(write(down[1], data, WAITING), WAITING);
    child = start(other);
    must(close(down[0]));
    must(close(up[1]));
    signal(SIGPIPE, SIG_IGN);
}

static void check(void)
{
    char text[6] = {0};

    same(fcntl(down[1], F_GETPIPE_SZ), SIZE);
    that(fcntl(up[0], F_GETFL) & O_NONBLOCK);
    that(!(fcntl(down[1], F_GETFL) & O_NONBLOCK));
    must(close(down[1]));
    finish(child);
    same(read(up[0], text, 5), 5);
    alike(text, "heard");
    same(write(lonely[1], "x", 1), -1);
    same(errno, EPIPE);
}
