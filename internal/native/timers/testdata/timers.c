// SPDX-License-Identifier: Apache-2.0
//
// A program with timers. The first argument says which. It writes a line for
// each timer to standard output, closes descriptor 3, and waits.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long long now(int clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

// create makes a timer through the kernel's own call, which shows its number.
static int create(int clock, int notify, int sig, int tid)
{
	struct sigevent e;
	int id;
	memset(&e, 0, sizeof e);
	e.sigev_notify = notify;
	e.sigev_signo = sig;
	e.sigev_value.sival_ptr = (void *)0xfedcba9876543210UL;
	e._sigev_un._tid = tid;
	if (syscall(SYS_timer_create, clock, &e, &id))
		die("timer_create");
	return id;
}

static void set(int id, int flags, long long value, long long interval)
{
	struct itimerspec s = {
		{ interval / SECOND, interval % SECOND },
		{ value / SECOND, value % SECOND },
	};
	if (syscall(SYS_timer_settime, id, flags, &s, NULL))
		die("timer_settime");
}

// report says of a timer: number, clock by which it is due, between which
// points in time that is (0 0: it does not run,
// -1 -1: on CPU time, -2 -2: at any time), interval.
static void report(int id, int clock, long long first, long long last, long long interval)
{
	printf("timer %d %d %lld %lld %lld\n", id, clock, first, last, interval);
}

// at makes a timer that is due at a point in time.
static void at(int clock, int timeline, int notify, int sig, long long interval)
{
	int id = create(clock, notify, sig, gettid());
	long long deadline = now(clock) + 1000 * SECOND + 123456789;
	set(id, TIMER_ABSTIME, deadline, interval);
	report(id, timeline, deadline, deadline, interval);
}

// in makes a timer that is due after a span.
static void in(int clock, int timeline, int notify, int sig, long long interval)
{
	int id = create(clock, notify, sig, gettid());
	long long span = 1000 * SECOND + 987654321, before = now(timeline);
	set(id, 0, span, interval);
	report(id, timeline, before + span, now(timeline) + span, interval);
}

static void itimer(int which, long long value, long long interval)
{
	struct itimerval v = {
		{ interval / SECOND, interval % SECOND / 1000 },
		{ value / SECOND, value % SECOND / 1000 },
	};
	long long before = now(CLOCK_MONOTONIC);
	if (setitimer(which, &v, NULL))
		die("setitimer");
	if (which == ITIMER_REAL)
		report(-1, CLOCK_MONOTONIC, before + value, now(CLOCK_MONOTONIC) + value, interval);
}

static void nothing(int sig) { (void)sig; }

// missed makes a timer that has missed signals once, and whose next signal waits.
static void missed(void)
{
	long long period = SECOND / 1000;
	int id = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 9, 0);
	struct sigaction a = { .sa_handler = nothing };
	sigset_t s;
	sigaction(SIGRTMIN + 9, &a, NULL);
	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 9);
	sigprocmask(SIG_BLOCK, &s, NULL);
	set(id, 0, period, period);
	do { // Once more if another signal came before it was blocked again.
		usleep(20000);
		sigprocmask(SIG_UNBLOCK, &s, NULL);
		sigprocmask(SIG_BLOCK, &s, NULL);
	} while (syscall(SYS_timer_getoverrun, id) == 0);
	usleep(5000);
	report(id, 0, -2, -2, period);
	printf("overrun %d %ld\n", id, syscall(SYS_timer_getoverrun, id));
}

static void holes(int n)
{
	for (int i = 0; i < n; i++)
		syscall(SYS_timer_delete, create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0));
}

// wall makes timers on clocks that go on by themselves, with holes in between.
static void wall(void)
{
	int id;
	at(CLOCK_MONOTONIC, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 0);
	holes(3);
	in(CLOCK_MONOTONIC, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 7 * SECOND + 1);
	at(CLOCK_BOOTTIME, CLOCK_BOOTTIME, SIGEV_THREAD, SIGRTMIN + 2, 11 * SECOND);
	holes(100);
	at(CLOCK_REALTIME, CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 3, 0);
	in(CLOCK_REALTIME, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 4, 3 * SECOND);
	at(CLOCK_REALTIME, CLOCK_REALTIME, SIGEV_NONE, 0, 0);
	at(CLOCK_TAI, CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 5, 5 * SECOND);
	in(CLOCK_MONOTONIC, CLOCK_MONOTONIC, SIGEV_NONE, -7, 9 * SECOND);
	at(CLOCK_MONOTONIC, CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 6, 0);
	if (syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &id))
		die("timer_create");
	report(id, 0, 0, 0, 0);
	missed();
	itimer(ITIMER_REAL, 1000 * SECOND + 5000, 4 * SECOND + 3000);
}

// cpu makes timers on CPU time.
static void cpu(void)
{
	int clocks[] = { CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, (~getpid() << 3) | 2, (~getpid() << 3) | 6, (~getpid() << 3) | 1 };
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		int id = create(clocks[i], SIGEV_SIGNAL, SIGRTMIN + i, 0);
		set(id, 0, 500 * SECOND, i * SECOND);
		report(id, 0, -1, -1, i * SECOND);
	}
	itimer(ITIMER_VIRTUAL, 300 * SECOND, 3 * SECOND);
	itimer(ITIMER_PROF, 0, 5 * SECOND); // It does not run, and keeps its interval.
}

// soon has timers that expire in a while, one of which has a signal that waits
// already.
static void soon(long long left)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	set(create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 0), 0, 1, 1000 * SECOND);
	kill(getpid(), SIGUSR1);
	set(create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 0), 0, left, 0);
	set(create(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGRTMIN + 3, 0), 0, left, 1000 * SECOND);
	set(create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 4, gettid()), 0, left, 0);
	itimer(ITIMER_REAL, left, 0);
}

// caught has an interval timer that has expired, and whose signal waits: it does
// not run until the signal is taken.
static void caught(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGALRM);
	sigprocmask(SIG_BLOCK, &s, NULL);
	itimer(ITIMER_REAL, SECOND / 1000, 1000 * SECOND);
	usleep(5000);
}

static void *sleeper(void *arg)
{
	*(volatile int *)arg = gettid();
	while (pause())
		;
	return NULL;
}

static void *passer(void *arg)
{
	*(int *)arg = gettid();
	create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN, gettid());
	create((~gettid() << 3) | 6, SIGEV_SIGNAL, SIGRTMIN, 0);
	return NULL;
}

static int threaded(void)
{
	static volatile int tid;
	pthread_t t;
	pthread_create(&t, NULL, sleeper, (void *)&tid);
	while (!tid)
		usleep(100);
	return tid;
}

// odd has timers that cannot be made again.
static void odd(void)
{
	static int tid;
	pthread_t t;
	threaded();
	pthread_create(&t, NULL, passer, &tid);
	pthread_join(t, NULL);
	create(CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 0);
	create((~getppid() << 3) | 2, SIGEV_SIGNAL, SIGRTMIN, 0);
	create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	if (!strcmp(mode, "wall"))
		wall();
	else if (!strcmp(mode, "cpu"))
		cpu();
	else if (!strcmp(mode, "soon"))
		soon(argc > 2 ? atoi(argv[2]) * (SECOND / 1000) : SECOND);
	else if (!strcmp(mode, "caught"))
		caught();
	else if (!strcmp(mode, "odd"))
		odd();
	else if (!strcmp(mode, "threads")) {
		int id = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN, threaded());
		set(id, TIMER_ABSTIME, now(CLOCK_MONOTONIC) + 1000 * SECOND, 0);
	}
	fflush(stdout);
	close(3);
	for (;;)
		pause();
}
