// SPDX-License-Identifier: Apache-2.0

// Locked memory and what else a program can say about a mapping.

#include "objects.h"

static const struct {
    const char *flag; // As VmFlags in /proc/PID/smaps has it.
    int advice;
} advised[] = {
    {" dd", MADV_DONTDUMP}, {" dc", MADV_DONTFORK}, {" wf", MADV_WIPEONFORK},
    {" sr", MADV_SEQUENTIAL}, {" rr", MADV_RANDOM},
};

enum { ADVISED = sizeof advised / sizeof *advised, SIZE = 4 * PAGE };

static char *areas[ADVISED], *locked, *on_fault;

static char *area(void)
{
    // A page in between keeps mappings apart.
    char *begin = must(mmap(NULL, SIZE + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

    must(mprotect(begin, SIZE, PROT_READ | PROT_WRITE));
    return begin;
}

static void set_up(void)
{
    for (int i = 0; i < ADVISED; i++) {
        areas[i] = area();
        fill(areas[i], PAGE, i);
        must(madvise(areas[i], SIZE, advised[i].advice));
    }
    locked = area();
    fill(locked, PAGE, 77);
    must(mlock(locked, SIZE));
    on_fault = area();
    must(mlock2(on_fault, SIZE, MLOCK_ONFAULT));
}

static void check(void)
{
    char flags[1000];

    for (int i = 0; i < ADVISED; i++) {
        that(filled(areas[i], PAGE, i));
        smaps_field(areas[i], "VmFlags", flags);
        if (!strstr(flags, advised[i].flag))
            fail("the flags of a mapping are%.*s, without%s", (int)strcspn(flags, "\n"), flags, advised[i].flag);
    }
    that(filled(locked, PAGE, 77));
    smaps_field(locked, "VmFlags", flags);
    that(strstr(flags, " lo") != NULL);
    same(smaps_field(locked, "Locked", NULL), SIZE / 1024);
    smaps_field(on_fault, "VmFlags", flags);
    that(strstr(flags, " lo") != NULL);
}
