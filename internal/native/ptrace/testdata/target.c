// SPDX-License-Identifier: Apache-2.0

// The targets of the tests: "target KIND FILE COUNT". FILE is one page of
// memory that the test reads: word 0 counts rounds and is not 0 when the target
// is ready, word 1 says what went wrong, the others are the kind's own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint64_t *page;
static char *self, *file;
static int count;

static void *must(int ok, int what)
{
	if (!ok) {
		page[1] = what * 1000 + errno;
		_exit(1);
	}
	return NULL;
}

static void tick(void) { __atomic_add_fetch(&page[0], 1, __ATOMIC_RELAXED); }

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *ticker(void *arg)
{
	for (;;) {
		tick();
		usleep(100);
	}
	return arg;
}

// threads: COUNT threads, of which one counts.
static void threads(void)
{
	for (int i = 1; i < count; i++) {
		pthread_t t;
		must(pthread_create(&t, NULL, sleeper, NULL) == 0, 1);
	}
	ticker(NULL);
}

static void *brief(void *arg) { return arg; }

static void *maker(void *arg)
{
	for (;;) {
		pthread_t t;
		if (pthread_create(&t, NULL, brief, NULL) == 0)
			must(pthread_join(t, NULL) == 0, 2);
		tick();
	}
	return arg;
}

// clones: COUNT threads that make threads and wait for their ends.
static void clones(void)
{
	for (int i = 1; i < count; i++) {
		pthread_t t;
		must(pthread_create(&t, NULL, maker, NULL) == 0, 1);
	}
	maker(NULL);
}

// forks: COUNT processes that make children, which make children.
static void forks(void)
{
	for (int i = 1; i < count && fork() != 0; i++) {
	}
	for (;;) {
		pid_t child = fork();
		must(child >= 0, 1);
		if (child == 0) {
			pid_t grandchild = fork();
			if (grandchild == 0)
				_exit(0);
			waitpid(grandchild, NULL, 0);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		tick();
	}
}

// vforks: COUNT processes that run programs with vfork.
static void vforks(void)
{
	for (int i = 1; i < count && fork() != 0; i++) {
	}
	for (;;) {
		pid_t child = vfork();
		if (child == 0) {
			execl(self, self, "nothing", file, "0", NULL);
			_exit(1);
		}
		int status = 0;
		must(child > 0 && waitpid(child, &status, 0) == child && status == 0, 3);
		tick();
	}
}

// stuck: the parent waits in vfork for a child that only counts.
static void stuck(void)
{
	if (vfork() == 0)
		ticker(NULL);
	_exit(1);
}

// execs: a thread that is not the first makes the process run itself anew.
static void *again(void *arg)
{
	tick();
	execl(self, self, "execs", file, "0", NULL);
	return must(0, 4);
}

static void execs(void)
{
	pthread_t t;
	must(pthread_create(&t, NULL, again, NULL) == 0, 1);
	sleeper(NULL);
}

// orphans: a process that inherits the children of its descendants, and below
// it COUNT lines of processes that each make one child and end. Word 2 counts
// those that nobody has collected: the lines wait when they are too many.
static void orphans(void)
{
	must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, 1);
	for (int i = 0; i < count; i++) {
		pid_t first = fork();
		must(first >= 0, 2);
		if (first == 0) {
			for (;;) {
				tick();
				while (__atomic_load_n(&page[2], __ATOMIC_RELAXED) > 1000)
					usleep(1000);
				__atomic_add_fetch(&page[2], 1, __ATOMIC_RELAXED);
				pid_t next = fork();
				must(next >= 0, 4);
				if (next != 0)
					_exit(0);
			}
		}
	}
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			must(errno == EINTR, 3);
		else
			__atomic_sub_fetch(&page[2], 1, __ATOMIC_RELAXED);
}

// zombies: a child that sleeps, and COUNT that have ended.
static void zombies(void)
{
	if (fork() == 0)
		sleeper(NULL);
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(7);
		siginfo_t info;
		must(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0, 2);
	}
	ticker(NULL);
}

// leaderless: the first thread ends, another one goes on.
static void leaderless(void)
{
	pthread_t t;
	must(pthread_create(&t, NULL, ticker, NULL) == 0, 1);
	pthread_exit(NULL);
}

// tree: COUNT processes in all.
static void tree(void)
{
	for (int i = 1; i < count; i++)
		if (fork() == 0)
			sleeper(NULL);
	ticker(NULL);
}

// signals: word 2 counts the signals that came, word 3 adds up their values.
static void count_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	__atomic_add_fetch(&page[2], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&page[3], info->si_value.sival_int, __ATOMIC_RELAXED);
}

static void signals(void)
{
	struct sigaction action = {.sa_sigaction = count_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	must(sigaction(SIGRTMIN, &action, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0, 1);
	threads();
}

// pending: SIGUSR1 and SIGRTMIN are blocked, word 2 is the mask.
static void pending(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, 1);
	memcpy((void *)&page[2], &set, 8);
	ticker(NULL);
}

// registers: all is well as long as none of them changes. Loops for ever.
static void registers(void)
{
#ifdef __x86_64__
	__asm__ volatile(
		"mov $0x1111222233334444, %%r12\n\tmov $0x5555666677778888, %%r13\n\t"
		"movq %%r12, %%xmm5\n\tmovq %%r13, %%xmm14\n"
		"1:\tmov $0x1111222233334444, %%rax\n\tcmp %%rax, %%r12\n\tjne 2f\n\t"
		"movq %%xmm5, %%rcx\n\tcmp %%rax, %%rcx\n\tjne 2f\n\t"
		"mov $0x5555666677778888, %%rax\n\tcmp %%rax, %%r13\n\tjne 2f\n\t"
		"movq %%xmm14, %%rcx\n\tcmp %%rax, %%rcx\n\tjne 2f\n\t"
		"lock incq (%0)\n\tjmp 1b\n"
		"2:\tmovq $99, 8(%0)\n"
		: : "r"(page) : "rax", "rcx", "r12", "r13", "xmm5", "xmm14", "memory");
#endif
	_exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	if (strcmp(argv[1], "nothing") == 0)
		return 0;
	self = argv[0];
	file = argv[2];
	count = atoi(argv[3]);
	int fd = open(file, O_RDWR);
	if (fd < 0)
		return 3;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return 4;
	close(fd);
	struct {
		const char *name;
		void (*run)(void);
	} kinds[] = {
		{"threads", threads}, {"clones", clones}, {"forks", forks}, {"vforks", vforks},
		{"stuck", stuck}, {"execs", execs}, {"orphans", orphans}, {"zombies", zombies}, {"leaderless", leaderless},
		{"tree", tree}, {"signals", signals}, {"pending", pending}, {"registers", registers},
	};
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(argv[1], kinds[i].name) == 0)
			kinds[i].run();
	return 5;
}
