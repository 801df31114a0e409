// SPDX-License-Identifier: Apache-2.0
//
// A process with POSIX timers whose signals wait. It prints a line for each of those
// with a period that stand still: number, clock, nanoseconds when it first expired, its
// period, and whether the program has asked for its time since (1 or 0). Then it says
// "ready" on descriptor 3, and waits.
#define _GNU_SOURCE
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * SECOND + t.tv_nsec; }

// timer makes a timer that is due at a point in time, and every period from there.
static timer_t timer(clockid_t clock, int64_t at, int64_t period)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec t = {{period / SECOND, period % SECOND}, {at / SECOND, at % SECOND}};
	timer_t id;

	if (timer_create(clock, &e, &id) || timer_settime(id, TIMER_ABSTIME, &t, NULL))
		err(1, "make a timer");
	return id;
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		err(1, "read a clock");
	return nanoseconds(t);
}

int main(void)
{
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_MONOTONIC};
	enum { kinds = sizeof clocks / sizeof *clocks, more = 1000 };
	const struct itimerspec anew = {{0, SECOND / 100}, {1000, 0}};
	sigset_t all;
	struct itimerspec t;
	timer_t id, again;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	timer(CLOCK_MONOTONIC, now(CLOCK_MONOTONIC) + 1000 * SECOND, SECOND); // Not due.
	timer(CLOCK_MONOTONIC, 1, 0);                                          // Once.
	timer(CLOCK_PROCESS_CPUTIME_ID, 1, SECOND);                            // Of another kind.
	again = timer(CLOCK_MONOTONIC, 1, SECOND / 100);
	for (int i = 0; i < more + kinds; i++) {
		clockid_t clock = clocks[i % kinds];
		int64_t first = now(clock) + SECOND / 100, period = SECOND / 100 + i;
		id = timer(clock, first, period);
		printf("%ld %d %" PRId64 " %" PRId64 " %d\n", (long)id, clock, first, period, i == more + kinds - 1);
	}
	usleep(200000);
	// Its signal waits, but it runs.
	if (timer_settime(again, 0, &anew, NULL))
		err(1, "set a timer anew");
	// Who asks has the kernel count what has passed.
	if (timer_gettime(id, &t))
		err(1, "ask for a timer");
	fflush(stdout);
	if (write(3, "ready\n", 6) != 6)
		err(1, "say that all is ready");
	close(3);
	for (;;)
		pause();
}
