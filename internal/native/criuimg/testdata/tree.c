// SPDX-License-Identifier: Apache-2.0

// A small process tree with one of everything that its images can hold, in the
// directory that its argument names. It writes "ready" to descriptor 3 when all
// is set up, closes that, and waits. On SIGUSR1 the root checks that all is
// still there, and ends with status 0 if so.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { page = 4096, private_pages = 9, shared_pages = 5 };

#define must(x) \
	do { \
		if (!(x)) { \
			perror(#x); \
			_exit(10); \
		} \
	} while (0)

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static volatile sig_atomic_t asked;
static void ask(int sig) { asked = sig; }

// checked reads one message and compares it.
static int checked(int fd, const char *want)
{
	char buf[64] = "";
	ssize_t n = read(fd, buf, sizeof(buf));
	return n == (ssize_t)strlen(want) && memcmp(buf, want, n) == 0;
}

int main(int argc, char **argv)
{
	const int told = 3;
	must(argc == 2 && chdir(argv[1]) == 0);
	// Nobody but the root's first thread is to take the signal, also if that does not
	// wait for it yet.
	sigset_t usr1, before;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &usr1, &before) == 0);

	// Memory: private pages with a gap, shared anonymous memory, a memfd.
	char *priv = mmap(NULL, private_pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *shared = mmap(NULL, shared_pages * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(priv != MAP_FAILED && shared != MAP_FAILED);
	strcpy(priv, "private");
	strcpy(priv + 4 * page, "private too");
	strcpy(shared + page, "shared");
	int mem = memfd_create("memfd of the test", MFD_ALLOW_SEALING);
	must(mem >= 0 && ftruncate(mem, 3 * page) == 0 && pwrite(mem, "memfd", 5, page) == 5);
	char *mapped = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	must(mapped != MAP_FAILED);

	// Files: a locked one, one without a name, the same with a hole, a FIFO.
	int file = open("file", O_RDWR | O_CREAT | O_APPEND, 0600);
	must(file >= 0 && write(file, "content", 7) == 7 && flock(file, LOCK_EX) == 0);
	int ghost = open("ghost", O_RDWR | O_CREAT, 0640);
	must(ghost >= 0 && write(ghost, "ghost", 5) == 5 && unlink("ghost") == 0);
	int holes = open("holes", O_RDWR | O_CREAT, 0600);
	must(holes >= 0 && pwrite(holes, "begin", 5, 0) == 5 && pwrite(holes, "end", 3, 64 * page) == 3 && unlink("holes") == 0);
	must(mkfifo("fifo", 0600) == 0);
	int fifo = open("fifo", O_RDWR);
	must(fifo >= 0 && write(fifo, "in the fifo", 11) == 11);

	// Descriptors without a file.
	int pipes[2], pair[2];
	must(pipe(pipes) == 0 && write(pipes[1], "in the pipe", 11) == 11);
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	must(send(pair[1], "first", 5, 0) == 5 && send(pair[1], "second", 6, 0) == 6);
	int event = eventfd(7, 0), poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
	must(event >= 0 && poll >= 0 && timer >= 0);
	struct epoll_event watch = {.events = EPOLLIN, .data.u64 = 99};
	must(epoll_ctl(poll, EPOLL_CTL_ADD, event, &watch) == 0);
	int notify = inotify_init();
	must(notify >= 0 && inotify_add_watch(notify, "file", IN_ACCESS) > 0);

	// Processes: a child, a zombie, two threads.
	pid_t child = fork();
	if (child == 0) {
		close(told);
		for (;;)
			pause();
	}
	pid_t zombie = fork();
	if (zombie == 0)
		_exit(42);
	siginfo_t info;
	must(waitid(P_PID, zombie, &info, WEXITED | WNOWAIT) == 0);
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, sleeper, NULL) == 0);
	must(pthread_setname_np(threads[1], "a thread's name") == 0);

	struct sigaction action = {.sa_handler = ask};
	must(sigaction(SIGUSR1, &action, NULL) == 0);
	must(write(told, "ready\n", 6) == 6 && close(told) == 0);
	while (!asked)
		sigsuspend(&before);

	struct stat st;
	uint64_t count = 0;
	int status = 0;
	char buf[8] = "";
	if (strcmp(priv, "private") || strcmp(priv + 4 * page, "private too") || strcmp(shared + page, "shared"))
		return 1;
	if (strcmp(mapped + page, "memfd"))
		return 2;
	if (pread(file, buf, 8, 0) != 7 || memcmp(buf, "content", 7))
		return 3;
	if (pread(ghost, buf, 8, 0) != 5 || memcmp(buf, "ghost", 5) || fstat(ghost, &st) || st.st_nlink != 0)
		return 4;
	if (pread(holes, buf, 8, 64 * page) != 3 || memcmp(buf, "end", 3) || fstat(holes, &st) || st.st_size != 64 * page + 3)
		return 5;
	if (!checked(fifo, "in the fifo") || !checked(pipes[0], "in the pipe"))
		return 6;
	if (!checked(pair[0], "first") || !checked(pair[0], "second"))
		return 7;
	if (read(event, &count, 8) != 8 || count != 7)
		return 8;
	if (waitpid(zombie, &status, 0) != zombie || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
		return 9;
	char name[16];
	if (pthread_getname_np(threads[1], name, sizeof(name)) || strcmp(name, "a thread's name"))
		return 11;
	if (pthread_getname_np(threads[0], name, sizeof(name)) || strcmp(name, "tree"))
		return 12;
	must(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
	return 0;
}
