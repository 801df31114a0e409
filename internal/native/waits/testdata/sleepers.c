// SPDX-License-Identifier: Apache-2.0

// sleepers: one thread for each way to sleep with a time limit, and one without.
// For each it prints a line
//
//	NAME TID CLOCK AT
//
// with the clock and the moment on it at which the thread is to wake, as it was
// before the thread went to sleep; CLOCK is -1 if there is no limit. Then it writes
// "ready" to descriptor 3.
#define _GNU_SOURCE
#include <err.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIMIT 100 // Seconds.

static pthread_barrier_t told;
static int semaphores;

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// tell prints a thread's line, and waits until it is printed.
static void tell(const char *name, clockid_t clock, int64_t limit)
{
	printf("%s %ld %d %lld\n", name, syscall(SYS_gettid), clock, (long long)(clock < 0 ? 0 : now(clock) + limit));
	fflush(stdout);
}

static const struct timespec limit = {LIMIT, 0};
#define NS (LIMIT * 1000000000LL)

static void do_nanosleep(void)
{
	tell("nanosleep", CLOCK_MONOTONIC, NS);
	nanosleep(&limit, NULL);
}

static void do_boottime(void)
{
	tell("boottime", CLOCK_BOOTTIME, NS);
	clock_nanosleep(CLOCK_BOOTTIME, 0, &limit, NULL);
}

static void do_absolute(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += LIMIT;
	tell("absolute", CLOCK_REALTIME, NS - 1000000);
	clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

static void do_poll(void)
{
	tell("poll", CLOCK_MONOTONIC, NS);
	poll(NULL, 0, LIMIT * 1000);
}

static void do_select(void)
{
	struct timeval t = {LIMIT, 0};

	tell("select", CLOCK_MONOTONIC, NS);
	select(0, NULL, NULL, NULL, &t);
}

static void do_epoll(void)
{
	struct epoll_event e;
	int fd = epoll_create1(0);

	tell("epoll", CLOCK_MONOTONIC, NS);
	epoll_wait(fd, &e, 1, LIMIT * 1000);
}

static void do_futex(void)
{
	static int word;

	tell("futex", CLOCK_MONOTONIC, NS);
	syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0);
}

static void do_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	tell("sigtimedwait", CLOCK_MONOTONIC, NS);
	sigtimedwait(&set, NULL, &limit);
}

static void do_semtimedop(void)
{
	struct sembuf take = {0, -1, 0};

	tell("semtimedop", CLOCK_MONOTONIC, NS);
	semtimedop(semaphores, &take, 1, &limit);
}

static void do_recv(void)
{
	int pair[2];
	char c;
	struct timeval t = {LIMIT, 0};

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t))
		err(1, "socketpair");
	tell("recv", CLOCK_MONOTONIC, NS);
	recv(pair[0], &c, 1, 0);
}

static void do_pause(void)
{
	tell("pause", -1, 0);
	pause();
}

static void *run(void *work)
{
	pthread_barrier_wait(&told);
	((void (*)(void))work)();
	errx(1, "a sleeper has woken");
}

int main(void)
{
	static void *const all[] = {
		do_nanosleep, do_boottime, do_absolute, do_poll, do_select, do_epoll,
		do_futex, do_sigtimedwait, do_semtimedop, do_recv, do_pause,
	};
	const int n = sizeof all / sizeof *all;

	// Semaphores outlive their processes, but not their namespace.
	if (unshare(CLONE_NEWIPC))
		err(1, "unshare");
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	if (semaphores < 0)
		err(1, "semget");
	pthread_barrier_init(&told, NULL, n + 1);
	for (int i = 0; i < n; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, run, all[i]))
			errx(1, "pthread_create");
	}
	pthread_barrier_wait(&told);
	usleep(300000);
	if (write(3, "ready\n", 6) != 6)
		err(1, "write");
	for (;;)
		pause();
}
