// SPDX-License-Identifier: Apache-2.0

// sleeps MILLISECONDS: one thread for each way to sleep with a time limit, and for each
// kind of timer. Each goes to sleep for so long, or until its timer is due then, and
// prints when it has woken
//
//	NAME RESULT ERRNO LATE CLOCK BEGUN WOKEN
//
// RESULT is that of the call; of a timer, how much more often than it was to it has
// expired. LATE is how much later than its time it has woken, in microseconds, by the
// clock that it slept on, which has the number CLOCK. BEGUN and WOKEN are when, by the
// wall clock, in nanoseconds. "ready" comes first, when all of them sleep; when all
// have woken "gap FROM TO PASSED", the longest time by the wall clock in which nothing
// ran, and how much of it passed on MONOTONIC, and "done".
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
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
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t limit; // In nanoseconds.
static struct timespec span;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct timespec at(clockid_t clock)
{
	int64_t t = now(clock) + limit;

	return (struct timespec){t / 1000000000, t % 1000000000};
}

struct sleeper {
	const char *name;
	clockid_t clock;
	long (*sleep)(void);
	clockid_t timer; // The clock that a timer was made on.
	int absolute;
};

static __thread const struct sleeper *self;

// By way of syscall(), whose code does not say which call it makes.
static long in_nanosleep(void) { return syscall(SYS_nanosleep, &span, NULL); }
static long in_plain_poll(void) { return syscall(SYS_poll, NULL, 0, limit / 1000000); }
static long in_remainder(void)
{
	struct timespec left = {99, 0};

	return nanosleep(&span, &left);
}
static long relative(clockid_t c) { return -(errno = clock_nanosleep(c, 0, &span, NULL)); }
static long absolute(clockid_t c)
{
	struct timespec t = at(c);

	return -(errno = clock_nanosleep(c, TIMER_ABSTIME, &t, NULL));
}
static long in_monotonic(void) { return relative(CLOCK_MONOTONIC); }
static long in_boottime(void) { return relative(CLOCK_BOOTTIME); }
static long in_realtime(void) { return relative(CLOCK_REALTIME); }
static long in_abs_monotonic(void) { return absolute(CLOCK_MONOTONIC); }
static long in_abs_boottime(void) { return absolute(CLOCK_BOOTTIME); }
static long in_abs_realtime(void) { return absolute(CLOCK_REALTIME); }
static long in_poll(void) { return poll(NULL, 0, limit / 1000000); }
static long in_ppoll(void) { return ppoll(NULL, 0, &span, NULL); }
static long in_select(void)
{
	struct timeval t = {span.tv_sec, span.tv_nsec / 1000};

	return select(0, NULL, NULL, NULL, &t);
}
static long in_pselect(void) { return pselect(0, NULL, NULL, NULL, &span, NULL); }
static long in_epoll(void)
{
	struct epoll_event e;

	return epoll_wait(epoll_create1(0), &e, 1, limit / 1000000);
}
static long in_epoll_pwait(void)
{
	struct epoll_event e;
	sigset_t all;

	sigfillset(&all);
	return epoll_pwait(epoll_create1(0), &e, 1, limit / 1000000, &all);
}
static long in_epoll_pwait2(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_pwait2, epoll_create1(0), &e, 1, &span, NULL, 0);
}
static long in_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return sigtimedwait(&set, NULL, &span);
}
static long in_futex(void)
{
	static int word;

	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0);
}
static long in_futex_absolute(void)
{
	static int word;
	struct timespec t = at(CLOCK_MONOTONIC);

	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY);
}
static long in_sem(void)
{
	sem_t s;
	struct timespec t = at(CLOCK_REALTIME);

	sem_init(&s, 0, 0);
	return sem_timedwait(&s, &t);
}
static long in_cond(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	struct timespec t = at(CLOCK_REALTIME);

	pthread_mutex_lock(&m);
	return -(errno = pthread_cond_timedwait(&c, &m, &t));
}
static long in_cond_monotonic(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c;
	pthread_condattr_t a;
	struct timespec t = at(CLOCK_MONOTONIC);

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&c, &a);
	pthread_mutex_lock(&m);
	return -(errno = pthread_cond_timedwait(&c, &m, &t));
}
static long in_mutex(void)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	struct timespec t = at(CLOCK_REALTIME);

	pthread_mutex_lock(&m);
	return -(errno = pthread_mutex_timedlock(&m, &t));
}
static long in_futex_realtime(void)
{
	static int word;
	struct timespec t = at(CLOCK_REALTIME);

	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY);
}
static void *own_pi(void *word)
{
	syscall(SYS_futex, word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	for (;;)
		pause();
	return word;
}
static long in_futex_pi(void)
{
	static int word;
	pthread_t owner;
	struct timespec t = at(CLOCK_REALTIME);

	pthread_create(&owner, NULL, own_pi, &word);
	while (!__atomic_load_n(&word, __ATOMIC_SEQ_CST))
		usleep(1000);
	t = at(CLOCK_REALTIME);
	return syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, &t, NULL, 0);
}
static long in_futex_waitv(void)
{
	static int word;
	struct futex_waitv w = {.uaddr = (uintptr_t)&word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
	struct timespec t = at(CLOCK_MONOTONIC);

	return syscall(SYS_futex_waitv, &w, 1, 0, &t, CLOCK_MONOTONIC);
}
static long in_abs_tai(void) { return absolute(CLOCK_TAI); }

// never is a descriptor that nothing ever comes from.
static int never(void)
{
	int ends[2];

	if (pipe(ends))
		err(1, "pipe");
	return ends[0];
}
static long in_poll_pipe(void)
{
	struct pollfd p = {never(), POLLIN, 0};

	return poll(&p, 1, limit / 1000000);
}
static long in_ppoll_pipe(void)
{
	struct pollfd p = {never(), POLLIN, 0};

	return ppoll(&p, 1, &span, NULL);
}
static long in_select_pipe(void)
{
	struct timeval t = {span.tv_sec, span.tv_nsec / 1000};
	int fd = never();
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &t);
}
static long in_epoll_pipe(void)
{
	int e = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};

	epoll_ctl(e, EPOLL_CTL_ADD, never(), &event);
	return epoll_wait(e, &event, 1, limit / 1000000);
}
static long in_semtimedop(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf take = {0, -1, 0};

	long result = semtimedop(id, &take, 1, &span);
	int error = errno;
	semctl(id, 0, IPC_RMID);
	errno = error;
	return result;
}
// limited is one end of a pair of sockets, on which calls have the limit of all.
static int limited(void)
{
	int ends[2];
	struct timeval t = {span.tv_sec, span.tv_nsec / 1000};

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) ||
	    setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t))
		err(1, "socketpair");
	return ends[0];
}
static long in_recv(void)
{
	char byte;

	return recv(limited(), &byte, 1, 0);
}
// in_recv_data waits much longer than for so long, and gets something at that time.
static int64_t arrives;
static void *deliver(void *to)
{
	struct timespec t = {arrives / 1000000000, arrives % 1000000000};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	if (write(*(int *)to, "x", 1) != 1)
		err(1, "deliver");
	return NULL;
}
static long in_recv_data(void)
{
	static int ends[2];
	struct timeval t = {10 * span.tv_sec + 10, 0};
	char byte = 0;
	pthread_t sender;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t))
		err(1, "socketpair");
	arrives = now(CLOCK_MONOTONIC) + limit;
	if (pthread_create(&sender, NULL, deliver, &ends[1]))
		errx(1, "pthread_create");
	long result = recv(ends[0], &byte, 1, 0);
	return result == 1 && byte == 'x' ? 1 : -99;
}
static long in_read_socket(void)
{
	char byte;

	return read(limited(), &byte, 1);
}
static long in_recvmsg(void)
{
	char byte;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	return recvmsg(limited(), &m, 0);
}


// must ends the program if a call that sets something up fails.
static int must(int result)
{
	if (result < 0)
		err(1, "%s", self->name);
	return result;
}

// due is when the timer of a thread is to expire, every so many nanoseconds after.
static struct itimerspec due(int64_t every)
{
	struct itimerspec t = {
		.it_value = self->absolute ? at(self->timer) : span,
		.it_interval = {every / 1000000000, every % 1000000000},
	};

	return t;
}

static long in_timerfd(void)
{
	struct itimerspec t = due(0);
	int fd = must(timerfd_create(self->timer, 0));
	uint64_t expired;

	must(timerfd_settime(fd, self->absolute ? TFD_TIMER_ABSTIME : 0, &t, NULL));
	if (read(fd, &expired, sizeof expired) < 0)
		return -1;
	return expired - 1;
}

// timer_signal is the signal of the thread's POSIX timer; others have others.
static int timer_signal(void);

static timer_t posix_timer(const struct itimerspec *t)
{
	timer_t id;
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = timer_signal()};

	e._sigev_un._tid = syscall(SYS_gettid);
	must(timer_create(self->timer, &e, &id));
	must(timer_settime(id, self->absolute ? TIMER_ABSTIME : 0, t, NULL));
	return id;
}

// awaited waits for a signal, and returns how many more of it there should have been.
static long awaited(int sig)
{
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, sig);
	if (sigwaitinfo(&set, &info) < 0)
		return -1;
	return info.si_overrun;
}

static long in_timer(void)
{
	struct itimerspec t = due(0);

	posix_timer(&t);
	return awaited(timer_signal());
}

static long in_itimer(void)
{
	struct itimerval t = {.it_value = {span.tv_sec, span.tv_nsec / 1000}};

	must(setitimer(ITIMER_REAL, &t, NULL));
	return awaited(SIGALRM);
}

#define EVERY 10000000LL // Nanoseconds.

// surplus is how much more often than it was to a timer has expired that does so at
// EVERY since start: not at all, if it was asked at the right moment.
static long surplus(uint64_t expired, int64_t before, int64_t start)
{
	int64_t least = (before - start) / EVERY, most = (now(self->timer) - start) / EVERY;

	if ((int64_t)expired < least)
		return expired - least;
	return (int64_t)expired > most ? (int64_t)expired - most : 0;
}

// doze sleeps for the time of all, with no limit that counts from where it was left.
static void doze(void)
{
	struct timespec t = at(self->timer);

	must(-clock_nanosleep(self->timer, TIMER_ABSTIME, &t, NULL));
}

static long in_periodic_timerfd(void)
{
	struct itimerspec t = {{0, EVERY}, {0, EVERY}};
	int fd = must(timerfd_create(self->timer, 0));
	uint64_t expired;
	int64_t start = now(self->timer);

	must(timerfd_settime(fd, 0, &t, NULL));
	doze();
	int64_t before = now(self->timer);
	if (read(fd, &expired, sizeof expired) < 0)
		return -1;
	return surplus(expired, before - EVERY / 2, start);
}

// in_periodic_timer takes the signals of a POSIX timer as they come, and counts them.
static long in_periodic_timer(void)
{
	struct itimerspec t = {{0, EVERY}, {0, EVERY}};
	int64_t start = now(self->timer), before = start, last;
	uint64_t expired = 0;

	posix_timer(&t);
	do {
		long more = awaited(timer_signal());
		if (more < 0)
			return -1;
		expired += 1 + more;
		last = before;
		before = now(self->timer);
		// Of an outage between a signal and the look at the clock the next one tells.
	} while (before < start + limit || before - last > 10 * EVERY);
	return surplus(expired, before - EVERY / 2, start);
}

// in_waiting_timer takes the signal of a POSIX timer when it has waited for long.
static long in_waiting_timer(void)
{
	struct itimerspec t = {{0, EVERY}, {0, EVERY}};
	int64_t start = now(self->timer);

	posix_timer(&t);
	doze();
	int64_t before = now(self->timer);
	long more = awaited(timer_signal());
	return more < 0 ? -1 : surplus(1 + more, before - EVERY / 2, start);
}

#define SLEEP(name, clock, how) {name, clock, how, -1, 0}

static const struct sleeper sleepers[] = {
	SLEEP("nanosleep", CLOCK_MONOTONIC, in_nanosleep),
	SLEEP("nanosleep_remainder", CLOCK_MONOTONIC, in_remainder),
	SLEEP("clock_nanosleep_monotonic", CLOCK_MONOTONIC, in_monotonic),
	SLEEP("clock_nanosleep_boottime", CLOCK_BOOTTIME, in_boottime),
	SLEEP("clock_nanosleep_realtime", CLOCK_MONOTONIC, in_realtime),
	SLEEP("absolute_monotonic", CLOCK_MONOTONIC, in_abs_monotonic),
	SLEEP("absolute_boottime", CLOCK_BOOTTIME, in_abs_boottime),
	SLEEP("absolute_realtime", CLOCK_REALTIME, in_abs_realtime),
	SLEEP("poll", CLOCK_MONOTONIC, in_poll),
	SLEEP("plain_poll", CLOCK_MONOTONIC, in_plain_poll),
	SLEEP("ppoll", CLOCK_MONOTONIC, in_ppoll),
	SLEEP("select", CLOCK_MONOTONIC, in_select),
	SLEEP("pselect", CLOCK_MONOTONIC, in_pselect),
	SLEEP("epoll_wait", CLOCK_MONOTONIC, in_epoll),
	SLEEP("epoll_pwait", CLOCK_MONOTONIC, in_epoll_pwait),
	SLEEP("epoll_pwait2", CLOCK_MONOTONIC, in_epoll_pwait2),
	SLEEP("sigtimedwait", CLOCK_MONOTONIC, in_sigtimedwait),
	SLEEP("futex", CLOCK_MONOTONIC, in_futex),
	SLEEP("futex_absolute", CLOCK_MONOTONIC, in_futex_absolute),
	SLEEP("sem_timedwait", CLOCK_REALTIME, in_sem),
	SLEEP("cond_timedwait", CLOCK_REALTIME, in_cond),
	SLEEP("cond_timedwait_monotonic", CLOCK_MONOTONIC, in_cond_monotonic),
	SLEEP("mutex_timedlock", CLOCK_REALTIME, in_mutex),
	SLEEP("futex_realtime", CLOCK_REALTIME, in_futex_realtime),
	SLEEP("futex_lock_pi", CLOCK_REALTIME, in_futex_pi),
	SLEEP("futex_waitv", CLOCK_MONOTONIC, in_futex_waitv),
	SLEEP("absolute_tai", CLOCK_TAI, in_abs_tai),
	SLEEP("poll_pipe", CLOCK_MONOTONIC, in_poll_pipe),
	SLEEP("ppoll_pipe", CLOCK_MONOTONIC, in_ppoll_pipe),
	SLEEP("select_pipe", CLOCK_MONOTONIC, in_select_pipe),
	SLEEP("epoll_pipe", CLOCK_MONOTONIC, in_epoll_pipe),
	SLEEP("semtimedop", CLOCK_MONOTONIC, in_semtimedop),
	SLEEP("recv", CLOCK_MONOTONIC, in_recv),
	SLEEP("recvmsg", CLOCK_MONOTONIC, in_recvmsg),
	SLEEP("recv_data", CLOCK_MONOTONIC, in_recv_data),
	SLEEP("read_socket", CLOCK_MONOTONIC, in_read_socket),
	{"timerfd_monotonic", CLOCK_MONOTONIC, in_timerfd, CLOCK_MONOTONIC, 0},
	{"timerfd_boottime", CLOCK_BOOTTIME, in_timerfd, CLOCK_BOOTTIME, 0},
	{"timerfd_realtime", CLOCK_MONOTONIC, in_timerfd, CLOCK_REALTIME, 0},
	{"absolute_timerfd_monotonic", CLOCK_MONOTONIC, in_timerfd, CLOCK_MONOTONIC, 1},
	{"absolute_timerfd_boottime", CLOCK_BOOTTIME, in_timerfd, CLOCK_BOOTTIME, 1},
	{"absolute_timerfd_realtime", CLOCK_REALTIME, in_timerfd, CLOCK_REALTIME, 1},
	{"timer_monotonic", CLOCK_MONOTONIC, in_timer, CLOCK_MONOTONIC, 0},
	{"timer_boottime", CLOCK_BOOTTIME, in_timer, CLOCK_BOOTTIME, 0},
	{"timer_realtime", CLOCK_MONOTONIC, in_timer, CLOCK_REALTIME, 0},
	{"absolute_timer_monotonic", CLOCK_MONOTONIC, in_timer, CLOCK_MONOTONIC, 1},
	{"absolute_timer_boottime", CLOCK_BOOTTIME, in_timer, CLOCK_BOOTTIME, 1},
	{"absolute_timer_realtime", CLOCK_REALTIME, in_timer, CLOCK_REALTIME, 1},
	{"itimer", CLOCK_MONOTONIC, in_itimer, CLOCK_MONOTONIC, 0},
	{"periodic_timerfd_monotonic", CLOCK_MONOTONIC, in_periodic_timerfd, CLOCK_MONOTONIC, 0},
	{"periodic_timerfd_boottime", CLOCK_BOOTTIME, in_periodic_timerfd, CLOCK_BOOTTIME, 0},
	{"periodic_timer_monotonic", CLOCK_MONOTONIC, in_periodic_timer, CLOCK_MONOTONIC, 0},
	{"periodic_timer_boottime", CLOCK_BOOTTIME, in_periodic_timer, CLOCK_BOOTTIME, 0},
	{"waiting_timer_monotonic", CLOCK_MONOTONIC, in_waiting_timer, CLOCK_MONOTONIC, 0},
	{"waiting_timer_boottime", CLOCK_BOOTTIME, in_waiting_timer, CLOCK_BOOTTIME, 0},
};

static int timer_signal(void) { return SIGRTMIN + 2 + (self - sleepers) % 16; }

static void *run(void *argument)
{
	const struct sleeper *s = self = argument;
	int64_t due = now(s->clock) + limit;

	errno = 0;
	int64_t begun = now(CLOCK_REALTIME);
	long result = s->sleep();
	int error = errno;
	int64_t late = now(s->clock) - due, woken = now(CLOCK_REALTIME);

	pthread_mutex_lock(&printing);
	printf("%s %ld %d %lld %d %lld %lld\n", s->name, result, error, (long long)late / 1000, s->clock,
	       (long long)begun, (long long)woken);
	fflush(stdout);
	pthread_mutex_unlock(&printing);
	return NULL;
}

static int64_t gap_from, gap_to, gap_passed;

// watch looks for the longest time in which nothing ran.
static void *watch(void *argument)
{
	int64_t last = now(CLOCK_REALTIME), last_mono = now(CLOCK_MONOTONIC);

	for (;;) {
		usleep(200);
		int64_t mono = now(CLOCK_MONOTONIC), t = now(CLOCK_REALTIME);
		if (t - last > gap_to - gap_from) {
			gap_from = last;
			gap_to = t;
			gap_passed = mono - last_mono;
		}
		last = t;
		last_mono = mono;
	}
	return argument;
}

int main(int argc, char **argv)
{
	pthread_t watcher;
	const int n = sizeof sleepers / sizeof *sleepers;
	pthread_t threads[n];

	if (argc != 2)
		errx(2, "usage: sleeps MILLISECONDS");
	limit = atoll(argv[1]) * 1000000;
	// The signals of timers are waited for, each by its thread.
	sigset_t timers;
	sigemptyset(&timers);
	sigaddset(&timers, SIGALRM);
	for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
		sigaddset(&timers, i);
	sigprocmask(SIG_BLOCK, &timers, NULL);
	span = (struct timespec){limit / 1000000000, limit % 1000000000};
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)&sleepers[i]))
			errx(1, "pthread_create");
	if (pthread_create(&watcher, NULL, watch, NULL))
		errx(1, "pthread_create");
	usleep(200000);
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	printf("gap %lld %lld %lld\n", (long long)gap_from, (long long)gap_to, (long long)gap_passed);
	printf("done\n");
	fflush(stdout);
	for (;;)
		pause();
}
