// SPDX-License-Identifier: Apache-2.0

// Memory that a parent and a child have not changed since the fork is there only
// once.

#include "objects.h"

enum { PAGES = 512, CHANGED = 100 };

static unsigned char *area;
static pid_t child;

// frame is the number of the page frame behind an address of a process.
static uint64_t frame(pid_t pid, const void *address)
{
    char path[64];
    uint64_t entry;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    fd = must(open(path, O_RDONLY));
    same(pread(fd, &entry, 8, (uintptr_t)address / PAGE * 8), 8);
    must(close(fd));
    return entry & (1ULL << 63) ? entry & ((1ULL << 55) - 1) : 0;
}

static void other(void)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    fill(area, CHANGED * PAGE, 2);
    ready();
    zero(sigwait(&set, &number)); // The parent has counted.
    that(filled(area, CHANGED * PAGE, 2));
    for (int i = CHANGED; i < PAGES; i++)
        that(filled(area + i * PAGE, PAGE, i));
    area[PAGES * PAGE - 1] ^= 0xff; // Still private: the parent must not see it.
}

static void set_up(void)
{
    area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < PAGES; i++)
        fill(area + i * PAGE, PAGE, i);
    child = start(other);
}

static void check(void)
{
    int shared = 0;

    for (int i = 0; i < PAGES; i++) {
        uint64_t mine = frame(getpid(), area + i * PAGE);
        if (mine != 0 && mine == frame(child, area + i * PAGE))
            shared++;
        that(filled(area + i * PAGE, PAGE, i));
    }
    must(kill(child, SIGUSR1));
    finish(child);
    that(filled(area + (PAGES - 1) * PAGE, PAGE, PAGES - 1));
    same(shared, PAGES - CHANGED);
}
