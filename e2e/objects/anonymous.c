// SPDX-License-Identifier: Apache-2.0

// Private anonymous memory: its contents, the pages that were never touched, and
// what may be done to each.

#include "objects.h"

enum { PAGES = 64, CLOSED = 20, READ_ONLY = 24, DROPPED = 30, CODE = 40 };

static unsigned char *area;

static unsigned char *page(int n)
{
    return area + n * PAGE;
}

static void set_up(void)
{
    // mov $42, %eax; ret, and its like.
#if defined(__x86_64__)
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
#else
    static const uint32_t code[] = {0x52800540, 0xd65f03c0};
#endif

    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < PAGES; i += 2)
        fill(page(i), PAGE, i);
    must(madvise(page(DROPPED), PAGE, MADV_DONTNEED));
    memcpy(page(CODE), code, sizeof code);
    must(mprotect(page(CODE), PAGE, PROT_READ | PROT_EXEC));
    must(mprotect(page(CLOSED), 2 * PAGE, PROT_NONE));
    must(mprotect(page(READ_ONLY), 2 * PAGE, PROT_READ));
}

static void check(void)
{
    that(!readable(page(CLOSED)) && !readable(page(CLOSED + 1)));
    that(readable(page(READ_ONLY)) && !writable(page(READ_ONLY)));
    that(readable(page(CODE)) && !writable(page(CODE)));
    same(((int (*)(void))page(CODE))(), 42);
    must(mprotect(page(CLOSED), 2 * PAGE, PROT_READ));
    for (int i = 0; i < PAGES; i++) {
        if (i == CODE)
            continue;
        if (i % 2 || i == DROPPED ? !blank(page(i), PAGE) : !filled(page(i), PAGE, i))
            fail("page %d is not as it was", i);
    }
    memset(page(0), 1, PAGE);
    that(blank(page(1), PAGE));
}
