// SPDX-License-Identifier: Apache-2.0

// A pipe in packet mode keeps what was written apart.

#include "objects.h"

static int ends[2];

static void set_up(void)
{
    must(pipe2(ends, O_DIRECT));
    same(write(ends[1], "one", 3), 3);
    same(write(ends[1], "three", 5), 5);
}

static void check(void)
{
    char text[10];

    that(fcntl(ends[1], F_GETFL) & O_DIRECT);
    same(read(ends[0], text, sizeof text), 3);
    same(read(ends[0], text, sizeof text), 5);
    same(write(ends[1], "a", 1), 1);
    same(write(ends[1], "b", 1), 1);
    same(read(ends[0], text, sizeof text), 1);
}
