// SPDX-License-Identifier: Apache-2.0

// Guard pages around a stack of one's own: reaching for them ends in SIGSEGV at
// just their address.

#include "objects.h"

#include <setjmp.h>

enum { PAGES = 6 };

static unsigned char *area;
static sigjmp_buf back;
static void *fault;

static void caught(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    fault = info->si_addr;
    siglongjmp(back, 1);
}

static void set_up(void)
{
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};

    area = must(mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    must(mprotect(area + PAGE, (PAGES - 2) * PAGE, PROT_READ | PROT_WRITE));
    fill(area + PAGE, (PAGES - 2) * PAGE, 2);
    must(sigaction(SIGSEGV, &action, NULL));
}

static void touch(unsigned char *address)
{
    fault = NULL;
    if (sigsetjmp(back, 1) == 0) {
        *(volatile unsigned char *)address = 1;
        fail("page %ld is no guard any more", (long)(address - area) / PAGE);
    }
    that(fault == address);
}

static void check(void)
{
    that(filled(area + PAGE, (PAGES - 2) * PAGE, 2));
    touch(area + PAGE - 1);
    touch(area + (PAGES - 1) * PAGE);
}
