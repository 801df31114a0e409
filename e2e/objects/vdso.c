// SPDX-License-Identifier: Apache-2.0

// The vdso: its functions at the addresses that the program has found at its
// start, and in the place that the auxiliary vector names.

#include "objects.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

static int (*gettime)(clockid_t, struct timespec *);

static long long now(void)
{
    struct timespec ts;

    same(gettime(CLOCK_MONOTONIC, &ts), 0);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void set_up(void)
{
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);

    that(vdso != NULL);
    gettime = (int (*)(clockid_t, struct timespec *))dlsym(vdso, "__vdso_clock_gettime");
    that(gettime != NULL);
    now();
}

static void check(void)
{
    char begin[32];
    const char *maps = slurp("/proc/self/maps");
    struct timeval tv;
    struct timespec by_call;

    // A vdso from another kernel stays as plain memory that calls the new one,
    // so this only asks for one that is there.
    snprintf(begin, sizeof begin, "%lx-", getauxval(AT_SYSINFO_EHDR));
    that(strstr(maps, begin) != NULL);
    that(strstr(maps, "[vdso]") != NULL);
    that(memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4) == 0);
    for (int i = 0; i < 1000; i++) {
        long long before = now(), between, after;

        must(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &by_call));
        between = by_call.tv_sec * 1000000000LL + by_call.tv_nsec;
        after = now();
        if (before > between || between > after)
            fail("the vdso says %lld and %lld, the kernel in between %lld", before, after, between);
    }
    must(gettimeofday(&tv, NULL));
    must(sched_getcpu());
    that(llabs((long long)tv.tv_sec - (long long)time(NULL)) <= 1);
}
