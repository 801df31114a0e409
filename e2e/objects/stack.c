// SPDX-License-Identifier: Apache-2.0

// A stack: what lies on it far down, and that it still grows by itself.

#include "objects.h"

static volatile int depth;

// descend uses 4 KiB of stack a step.
static __attribute__((noinline)) int descend(int steps)
{
    volatile char frame[PAGE];

    frame[0] = (char)steps;
    frame[PAGE - 1] = (char)steps;
    if (steps > 0 && descend(steps - 1) != steps - 1)
        return -1;
    return frame[0] == (char)steps && frame[PAGE - 1] == (char)steps ? steps : -1;
}

static uintptr_t down;

static __attribute__((noinline)) void touch(void)
{
    unsigned char frame[64 * PAGE];

    fill(frame, sizeof frame, 3);
    down = (uintptr_t)frame;
    __asm__ volatile("" : : "r"(frame) : "memory");
}

static void set_up(void)
{
    touch();
    depth = 1000;
}

static void check(void)
{
    // Far below the present frame, so nothing has been put over it since.
    that(filled((void *)down, 16 * PAGE, 3));
    same(descend(depth), depth);
    that(strstr(slurp("/proc/self/maps"), "[stack]") != NULL);
}
