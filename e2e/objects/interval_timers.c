// SPDX-License-Identifier: Apache-2.0

// The three timers of setitimer.

#include "objects.h"

#include <sys/time.h>

static const int which[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
static volatile int alarms;

static void caught(int number)
{
    (void)number;
    alarms++;
}

static void set_up(void)
{
    signal(SIGALRM, caught);
    for (int i = 0; i < 3; i++)
        must(setitimer(which[i], &(struct itimerval){{100 + i, 7}, {1000 + i, 0}}, NULL));
}

static void check(void)
{
    struct itimerval left;

    for (int i = 0; i < 3; i++) {
        must(getitimer(which[i], &left));
        same(left.it_interval.tv_sec, 100 + i);
        // The kernel may round what is counted in ticks up.
        that(left.it_interval.tv_usec >= 7 && left.it_interval.tv_usec < 10000);
        if (left.it_value.tv_sec > 1000 + i || left.it_value.tv_sec < 970 + i)
            fail("timer %d has %ld s left, not about %d", i, (long)left.it_value.tv_sec, 1000 + i);
    }
    same(alarms, 0);
    must(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000}}, NULL));
    await(alarms == 1);
}
