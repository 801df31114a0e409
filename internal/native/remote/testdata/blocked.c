// SPDX-License-Identifier: Apache-2.0

// blocked FILE CALL: makes the blocking call again and again and checks its
// result and how long it took. FILE is shared memory: the first word counts
// calls, the second is the errno of a call that failed otherwise than it should
// (1000: it returned what it should not, 1001: too early), the third is the
// longest time of a call in microseconds, the fourth counts calls
// that failed with EINTR where that can be right.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static void nothing(int sig) { (void)sig; }

int main(int argc, char **argv);

static void *repeat(void *argv)
{
	main(3, argv);
	return 0;
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	volatile int64_t *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const char *what = argv[2];
	if (!strcmp(what, "epoll-thread")) {
		// A second thread does it.
		pthread_t thread;
		char *again[] = {argv[0], argv[1], "epoll", 0};
		pthread_create(&thread, 0, repeat, again);
		for (;;)
			pause();
	}
	int pipes[2], ep = epoll_create1(0), ev = eventfd(0, 0);
	struct epoll_event event = {.events = EPOLLIN};
	pipe(pipes);
	epoll_ctl(ep, EPOLL_CTL_ADD, pipes[0], &event);
	const int us = 20000; // How long a call should take.
	struct sigaction act = {.sa_handler = nothing};
	sigaction(SIGALRM, &act, 0);
	// Something to end the calls that have no time limit.
	if (!strcmp(what, "read") || !strcmp(what, "epoll")) {
		if (fork() == 0)
			for (;;) {
				usleep(us);
				write(pipes[1], "x", 1);
			}
	}
	sigset_t mask, none;
	sigemptyset(&none);
	sigemptyset(&mask);
	sigaddset(&mask, SIGALRM);
	if (!strcmp(what, "sigsuspend") || !strcmp(what, "ppoll"))
		sigprocmask(SIG_BLOCK, &mask, 0);
	for (;;) {
		uint64_t start = now();
		struct timespec ts = {.tv_nsec = us * 1000}, rem;
		long r = -1, expect = 0;
		int fail = 0, limited = 1;
		char c;
		static uint32_t word;
		errno = 0;
		if (!strcmp(what, "nanosleep"))
			r = nanosleep(&ts, &rem);
		else if (!strcmp(what, "nanosleep-plain"))
			r = nanosleep(&ts, 0);
		else if (!strcmp(what, "poll"))
			r = poll(0, 0, us / 1000);
		else if (!strcmp(what, "futex"))
			r = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, 0, 0), expect = -1, fail = ETIMEDOUT;
		else if (!strcmp(what, "futex-inline")) {
			register void *timeout __asm__("r10") = &ts;
			__asm__ volatile("mov $202, %%eax; syscall" : "=a"(r) : "D"(&word), "S"(FUTEX_WAIT), "d"(0), "r"(timeout) : "rcx", "r11", "memory");
			expect = -ETIMEDOUT;
		} else if (!strcmp(what, "select")) {
			struct timeval tv = {.tv_usec = us};
			r = select(0, 0, 0, 0, &tv);
		} else if (!strcmp(what, "read"))
			r = read(pipes[0], &c, 1), expect = 1, limited = 0;
		else if (!strcmp(what, "epoll")) {
			r = epoll_wait(ep, &event, 1, -1), expect = 1, limited = 0;
			if (r == 1)
				read(pipes[0], &c, 1);
		} else {
			// Ended by a handler of a timer's signal: EINTR is right.
			struct timespec at = {.tv_nsec = us * 1000};
			struct itimerspec it = {.it_value = at};
			timer_t id;
			struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
			timer_create(CLOCK_MONOTONIC, &se, &id);
			timer_settime(id, 0, &it, 0);
			if (!strcmp(what, "pause"))
				r = pause();
			else if (!strcmp(what, "sigsuspend"))
				r = sigsuspend(&none);
			else if (!strcmp(what, "ppoll"))
				r = ppoll(0, 0, 0, &none);
			timer_delete(id);
			expect = -1, fail = EINTR;
		}
		int64_t took = now() - start;
		if (r == -1 && errno == EINTR && (!strcmp(what, "epoll") || !strcmp(what, "futex") ||
				!strncmp(what, "nanosleep", 9) || !strcmp(what, "poll"))) {
			// Every stop does this to epoll_wait if nobody mends it. The code of
			// syscall(3), and of glibc since 2.41, does not say which call it makes.
			shared[3]++;
			limited = 0;
		} else if (r != expect || errno != fail)
			shared[1] = errno ? errno : 1000;
		if (limited && took < us)
			shared[1] = 1001;
		if (took > shared[2])
			shared[2] = took;
		shared[0]++;
	}
	(void)ev;
}
