// SPDX-License-Identifier: Apache-2.0

// A program that opens what its argument names, in its working directory, says
// "ready" and waits. What it opens stands at fixed numbers from 10 on. With a
// second argument it ends instead.

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static int null; // /dev/null

static int check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

// at opens a file at a number.
static void at(int fd, int from, int flags)
{
	if (from == fd)
		return;
	check(dup3(from, fd, flags), "dup3");
	close(from);
}

static void open_at(int fd, const char *path, int flags)
{
	at(fd, check(open(path, flags | O_CLOEXEC, 0640), path), flags & O_CLOEXEC);
}

static void fill(int fd, const char *text)
{
	check(write(fd, text, strlen(text)), "write");
}

// rest gives up the descriptors of the test, and does nothing any more.
static _Noreturn void rest(void)
{
	for (int fd = 0; fd < 3; fd++)
		check(dup2(null, fd), "dup2");
	close(null);
	for (;;)
		pause();
}

static void regular(void)
{
	open_at(10, "data", O_RDWR | O_CREAT | O_TRUNC);
	fill(10, "0123456789");
	lseek(10, 5, SEEK_SET);
	check(dup3(10, 12, O_CLOEXEC), "dup3");
	open_at(20, "data", O_RDONLY | O_CLOEXEC);
	open_at(21, "data", O_WRONLY | O_APPEND | O_NONBLOCK);
	open_at(22, "data", O_PATH);
	open_at(23, ".", O_RDONLY | O_DIRECTORY);
	open_at(24, "/dev/zero", O_RDWR);
	open_at(25, "/dev/urandom", O_RDONLY);
	open_at(26, "/dev/full", O_WRONLY);
	check(symlink("data", "link"), "symlink");
	open_at(27, "link", O_PATH | O_NOFOLLOW);
	open_at(1000, "data", O_RDWR | O_SYNC);
}

static void deleted(void)
{
	open_at(10, "gone", O_RDWR | O_CREAT);
	fill(10, "still here");
	open_at(11, "gone", O_RDONLY);
	check(unlink("gone"), "unlink");
	open_at(12, "sparse", O_RDWR | O_CREAT);
	check(ftruncate(12, 1 << 20), "ftruncate");
	check(pwrite(12, "end", 3, (1 << 20) - 3), "pwrite");
	check(pwrite(12, "middle", 6, 1 << 19), "pwrite");
	check(ftruncate(12, (1 << 20) + 100000), "ftruncate"); // It ends with a hole.
	check(fchmod(12, 0604), "fchmod");
	check(unlink("sparse"), "unlink");
	open_at(13, ".", O_TMPFILE | O_RDWR);
	fill(13, "no name ever");
	open_at(14, "reused", O_RDWR | O_CREAT);
	fill(14, "old");
	check(unlink("reused"), "unlink");
	open_at(15, "reused", O_RDWR | O_CREAT);
	fill(15, "new one");
	check(mkdir("below", 0755), "mkdir");
	check(chdir("below"), "chdir");
	open_at(16, "inner", O_WRONLY | O_CREAT);
	fill(16, "x");
	check(unlink("inner"), "unlink");
	check(rmdir("../below"), "rmdir");
}

static void pipes(void)
{
	int p[2];

	check(pipe(p), "pipe");
	at(10, p[0], 0);
	at(11, p[1], 0);
	check(fcntl(11, F_SETPIPE_SZ, 16384), "F_SETPIPE_SZ");
	fill(11, "hello");
	open_at(12, "/proc/self/fd/10", O_RDWR | O_NONBLOCK);
	check(pipe2(p, O_DIRECT | O_NONBLOCK), "pipe2");
	at(13, p[0], 0);
	at(14, p[1], 0);
	fill(14, "one");
	fill(14, "three");
	check(pipe2(p, O_DIRECT), "pipe2");
	at(17, p[0], 0);
	at(18, p[1], 0);
	fill(18, "1");
	check(pipe(p), "pipe");
	at(15, p[1], 0); // Without a reader.
	close(p[0]);
	check(pipe(p), "pipe");
	if (check(fork(), "fork") == 0) {
		at(20, p[1], 0);
		close(p[0]);
		close(10);
		fill(1, "+");
		rest();
	}
	at(16, p[0], 0);
	close(p[1]);
}

static void fifos(void)
{
	check(mkfifo("fifo", 0600), "mkfifo");
	open_at(10, "fifo", O_RDONLY | O_NONBLOCK);
	open_at(11, "fifo", O_WRONLY);
	fill(11, "in the fifo");
	check(mkfifo("lost", 0600), "mkfifo");
	open_at(12, "lost", O_RDWR);
	fill(12, "lost");
	check(unlink("lost"), "unlink");
}

static void memfds(void)
{
	at(10, check(memfd_create("a name", MFD_ALLOW_SEALING | MFD_CLOEXEC), "memfd_create"), O_CLOEXEC);
	fill(10, "memory");
	lseek(10, 2, SEEK_SET);
	check(fchmod(10, 0600), "fchmod");
	open_at(11, "/proc/self/fd/10", O_RDONLY);
	check(fcntl(10, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), "F_ADD_SEALS");
	at(12, check(memfd_create("", 0), "memfd_create"), 0);
	open_at(13, "/proc/self/fd/12", O_RDWR);
}

static void locks(void)
{
	struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};

	open_at(10, "flock", O_RDWR | O_CREAT);
	check(flock(10, LOCK_EX), "flock");
	check(dup2(10, 11), "dup2");
	open_at(12, "flock-shared", O_RDWR | O_CREAT);
	check(flock(12, LOCK_SH), "flock");
	open_at(13, "posix", O_RDWR | O_CREAT);
	check(fcntl(13, F_SETLK, &f), "F_SETLK");
	f.l_type = F_RDLCK;
	f.l_start = 100;
	f.l_len = 0;
	check(fcntl(13, F_SETLK, &f), "F_SETLK");
	open_at(14, "ofd", O_RDWR | O_CREAT);
	f.l_type = F_WRLCK;
	f.l_pid = 0;
	check(fcntl(14, F_OFD_SETLK, &f), "F_OFD_SETLK");
	if (check(fork(), "fork") == 0) {
		struct flock g = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 50, .l_len = 5};
		check(fcntl(13, F_SETLK, &g), "F_SETLK");
		fill(1, "+");
		rest();
	}
}

static void owners(void)
{
	struct f_owner_ex owner = {.type = F_OWNER_PID, .pid = getpid()};
	int p[2];

	check(pipe(p), "pipe");
	at(10, p[0], 0);
	at(11, p[1], 0);
	signal(SIGRTMIN + 3, SIG_IGN);
	check(fcntl(10, F_SETSIG, SIGRTMIN + 3), "F_SETSIG");
	check(fcntl(10, F_SETOWN_EX, &owner), "F_SETOWN_EX");
	check(fcntl(10, F_SETFL, O_ASYNC | O_NONBLOCK), "F_SETFL");
	check(seteuid(1234), "seteuid");
	owner.type = F_OWNER_PGRP;
	owner.pid = getpgrp();
	check(fcntl(11, F_SETOWN_EX, &owner), "F_SETOWN_EX");
	check(seteuid(0), "seteuid");
	check(mkfifo("fifo", 0600), "mkfifo");
	open_at(12, "fifo", O_RDWR);
	check(fcntl(12, F_SETOWN, getpid()), "F_SETOWN");
	check(fcntl(12, F_SETFL, O_ASYNC), "F_SETFL");
}

static void directories(void)
{
	check(mkdir("jail", 0755), "mkdir");
	check(mkdir("jail/inside", 0755), "mkdir");
	check(chdir("jail/inside"), "chdir");
	check(chroot(".."), "chroot");
}

static void shared(void)
{
	struct rlimit low = {.rlim_cur = 30, .rlim_max = 4096};

	open_at(10, "data", O_RDWR | O_CREAT);
	fill(10, "0123456789");
	for (int fd = 100; fd < 250; fd++)
		check(dup2(10, fd), "dup2");
	for (int i = 0; i < 2; i++)
		check(fork(), "fork");
	check(lseek(10, 7, SEEK_SET), "lseek");
	check(setrlimit(RLIMIT_NOFILE, &low), "setrlimit");
	fill(1, "+");
}

static void linked(void)
{
	open_at(10, "first", O_RDWR | O_CREAT);
	fill(10, "two names");
	check(link("first", "second"), "link");
	check(unlink("first"), "unlink");
}

// linked_and_notified is linked, and something that makes a dump fail later.
static void linked_and_notified(void)
{
	linked();
	open_at(12, "file", O_RDWR | O_CREAT);
	at(13, check(inotify_init1(0), "inotify_init1"), 0);
	check(inotify_add_watch(13, "file", IN_MODIFY), "inotify_add_watch");
	fill(12, "x");
}

static void taken(void)
{
	open_at(10, "name", O_RDWR | O_CREAT);
	check(rename("name", "away"), "rename");
	open_at(11, "away", O_RDONLY);
	check(link("away", "other"), "link");
	check(unlink("away"), "unlink");
	open_at(12, "away", O_RDWR | O_CREAT);
}

static void lease(void)
{
	open_at(10, "leased", O_RDONLY | O_CREAT);
	check(fcntl(10, F_SETLEASE, F_RDLCK), "F_SETLEASE");
}

static void large(void)
{
	static char block[1 << 16];

	open_at(10, "large", O_RDWR | O_CREAT);
	for (int i = 0; i < 32; i++)
		check(write(10, block, sizeof block), "write");
	check(unlink("large"), "unlink");
}

static void table(void)
{
	volatile int *said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (check(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0), "clone") == 0) {
		fill(1, "+");
		*said = 1;
		for (;;)
			pause();
	}
	while (!*said) // The parent will replace the descriptor for both.
		usleep(1000);
}

static void eventfds(void)
{
	at(10, check(eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"), O_CLOEXEC);
	at(11, check(eventfd(3, EFD_SEMAPHORE), "eventfd"), 0);
	check(dup2(10, 12), "dup2");
	at(13, check(eventfd(0, 0), "eventfd"), 0);
	uint64_t most = UINT64_MAX - 1;
	check(write(13, &most, sizeof most), "write");
	if (check(fork(), "fork") == 0) {
		check(dup2(10, 30), "dup2");
		fill(1, "+");
		rest();
	}
}

static void signalfds(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMAX);
	check(sigprocmask(SIG_BLOCK, &mask, NULL), "sigprocmask");
	at(10, check(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd"), O_CLOEXEC);
	sigdelset(&mask, SIGUSR1);
	at(11, check(signalfd(-1, &mask, 0), "signalfd"), 0);
	check(raise(SIGUSR1), "raise");
}

static void watch(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};
	check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
}

static void epolls(void)
{
	int p[2];

	at(10, check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"), O_CLOEXEC);
	at(11, check(epoll_create1(0), "epoll_create1"), 0);
	at(12, check(eventfd(1, 0), "eventfd"), 0);
	check(pipe(p), "pipe");
	at(13, p[0], 0);
	at(14, p[1], 0);
	watch(10, 12, EPOLLIN | EPOLLET, 0x123456789abcdef0);
	watch(10, 13, EPOLLIN | EPOLLONESHOT, 13);
	watch(10, 14, EPOLLOUT | EPOLLRDHUP | EPOLLWAKEUP, UINT64_MAX);
	watch(11, 10, EPOLLIN, 10); // One inside the other.
	check(dup2(12, 20), "dup2");
	watch(10, 20, EPOLLIN, 20); // The same file, another number.
	check(dup2(12, 21), "dup2");
	watch(10, 21, EPOLLIN | EPOLLEXCLUSIVE, 21);
	for (int fd = 100; fd < 400; fd++) {
		at(fd, check(eventfd(0, 0), "eventfd"), 0);
		watch(11, fd, EPOLLIN, fd);
	}
}

// Watches by numbers that are not their files' any more.
static void epollmoved(void)
{
	at(11, check(epoll_create1(0), "epoll_create1"), 0);
	at(12, check(eventfd(1, 0), "eventfd"), 0);
	// Watched by a number that is closed, while the file lives on.
	at(22, check(eventfd(5, 0), "eventfd"), 0);
	watch(11, 22, EPOLLIN, 22);
	check(dup2(22, 23), "dup2");
	close(22);
	// And by one that is another file's now, which is watched, too.
	at(24, check(eventfd(6, 0), "eventfd"), 0);
	watch(11, 24, EPOLLIN, 24);
	check(dup2(24, 25), "dup2");
	check(dup3(12, 24, O_CLOEXEC), "dup3");
	watch(11, 24, EPOLLIN, 2400);
	watch(11, 25, EPOLLIN, 25);
}

// One that watches a file which no process of the tree has any more but a child.
static void epolllost(void)
{
	at(10, check(epoll_create1(0), "epoll_create1"), 0);
	at(11, check(eventfd(0, 0), "eventfd"), 0);
	watch(10, 11, EPOLLIN, 11);
	if (check(fork(), "fork") == 0) {
		close(10);
		fill(1, "+");
		rest();
	}
	close(11);
}

static void timerfds(void)
{
	struct itimerspec hour = {.it_value = {.tv_sec = 3600}, .it_interval = {.tv_sec = 10}};
	struct itimerspec past = {.it_value = {.tv_sec = 1}};
	struct itimerspec later;

	at(10, check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create"), O_CLOEXEC);
	check(timerfd_settime(10, 0, &hour, NULL), "timerfd_settime");
	at(11, check(timerfd_create(CLOCK_BOOTTIME, 0), "timerfd_create"), 0);
	check(timerfd_settime(11, TFD_TIMER_ABSTIME, &past, NULL), "timerfd_settime");
	at(12, check(timerfd_create(CLOCK_REALTIME, 0), "timerfd_create"), 0);
	check(clock_gettime(CLOCK_REALTIME, &later.it_value), "clock_gettime");
	later.it_value.tv_sec += 1800;
	later.it_interval = (struct timespec){0};
	check(timerfd_settime(12, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &later, NULL), "timerfd_settime");
	at(13, check(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create"), 0);
	at(14, check(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create"), 0);
	hour.it_value.tv_sec = 0; // A period, and stopped all the same.
	check(timerfd_settime(14, 0, &hour, NULL), "timerfd_settime");
	at(15, check(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create"), 0);
	hour.it_value.tv_sec = 3600;
	hour.it_interval.tv_sec = INT64_MAX;
	check(timerfd_settime(15, 0, &hour, NULL), "timerfd_settime");
}

static void inotifies(void)
{
	at(10, check(inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1"), O_CLOEXEC);
	check(mkdir("watched", 0755), "mkdir");
	open_at(11, "watched/file", O_RDWR | O_CREAT);
	int first = check(inotify_add_watch(10, "watched/file", IN_MODIFY), "inotify_add_watch");
	check(inotify_add_watch(10, "watched", IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK), "inotify_add_watch");
	check(inotify_rm_watch(10, first), "inotify_rm_watch");
	char event[256];
	check(read(10, event, sizeof event), "read");
	check(inotify_add_watch(10, "watched/file", IN_CLOSE_WRITE | IN_ONESHOT), "inotify_add_watch");
	at(12, check(inotify_init1(0), "inotify_init1"), 0);
}

static void notified(void)
{
	open_at(10, "file", O_RDWR | O_CREAT);
	at(11, check(inotify_init1(0), "inotify_init1"), 0);
	check(inotify_add_watch(11, "file", IN_MODIFY), "inotify_add_watch");
	fill(10, "x");
}

static void dnotify(void)
{
	check(mkdir("watched", 0755), "mkdir");
	open_at(10, "watched", O_RDONLY | O_DIRECTORY);
	check(fcntl(10, F_NOTIFY, DN_CREATE | DN_MULTISHOT), "F_NOTIFY");
}

static void pair(int a, int b, int type)
{
	int s[2];

	check(socketpair(AF_UNIX, type, 0, s), "socketpair");
	at(a, s[0], 0);
	at(b, s[1], 0);
}

static struct sockaddr_un address(const char *name, socklen_t *size)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	// A name that begins with @ is an abstract one.
	*size = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] != '@');
	memcpy(a.sun_path, name, strlen(name));
	if (name[0] == '@')
		a.sun_path[0] = 0;
	return a;
}

static void bound(int fd, int type, const char *name)
{
	socklen_t size;
	struct sockaddr_un a = address(name, &size);

	at(fd, check(socket(AF_UNIX, type, 0), "socket"), 0);
	check(bind(fd, (struct sockaddr *)&a, size), name);
}

static void connected(int fd, const char *name)
{
	socklen_t size;
	struct sockaddr_un a = address(name, &size);

	check(connect(fd, (struct sockaddr *)&a, size), name);
}

static void socketpairs(void)
{
	int yes = 1;
	struct linger linger = {.l_onoff = 1, .l_linger = 5};
	struct timeval timeout = {.tv_sec = 3, .tv_usec = 500000};

	pair(10, 11, SOCK_STREAM);
	fill(10, "to eleven");
	fill(11, "to ten");
	pair(12, 13, SOCK_DGRAM);
	fill(12, "one");
	fill(12, "two");
	pair(14, 15, SOCK_SEQPACKET | SOCK_NONBLOCK);
	fill(15, "packet");
	fill(15, "another");
	pair(16, 17, SOCK_STREAM);
	fill(16, "last words");
	check(shutdown(16, SHUT_WR), "shutdown");
	pair(18, 19, SOCK_STREAM);
	fill(18, "from the dead");
	close(18); // 19 has lost its peer.
	pair(20, 21, SOCK_STREAM);
	check(setsockopt(20, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes), "SO_PASSCRED");
	check(setsockopt(20, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "SO_LINGER");
	check(setsockopt(20, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), "SO_RCVTIMEO");
	if (check(fork(), "fork") == 0) {
		close(20);
		check(dup2(21, 40), "dup2");
		fill(1, "+");
		rest();
	}
	close(21);
}

// Empty messages, which can be looked at only once.
static void empties(void)
{
	pair(10, 11, SOCK_DGRAM);
	fill(10, "one");
	check(send(10, "", 0, 0), "send");
	fill(10, "three");
	pair(12, 13, SOCK_DGRAM);
	check(send(12, "", 0, 0), "send");
}

static void listeners(void)
{
	bound(10, SOCK_STREAM, "listener");
	check(listen(10, 5), "listen");
	check(chmod("listener", 0640), "chmod");
	at(11, check(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), 0);
	connected(11, "listener"); // It waits to be accepted.
	bound(12, SOCK_SEQPACKET, "@crtime-files-test");
	check(listen(12, 1), "listen");
	at(13, check(socket(AF_UNIX, SOCK_SEQPACKET, 0), "socket"), 0);
	connected(13, "@crtime-files-test");
	at(14, check(accept(12, NULL, NULL), "accept"), 0);
	fill(13, "request");
	fill(14, "answer");
	bound(15, SOCK_STREAM, "lost");
	check(listen(15, 0), "listen");
	check(unlink("lost"), "unlink");
	bound(16, SOCK_STREAM, "bound-only");
}

// become changes what other ends of sockets see.
static void become(uid_t user, gid_t group)
{
	check(setresuid(-1, 0, -1), "setresuid");
	check(setresgid(-1, group, -1), "setresgid");
	check(setresuid(-1, user, -1), "setresuid");
}

// peers is connections of different users.
static void peers(void)
{
	become(1001, 2001);
	pair(10, 11, SOCK_STREAM);
	pair(12, 13, SOCK_DGRAM);
	become(0, 0);
	bound(14, SOCK_STREAM, "listener");
	become(1002, 2002);
	check(listen(14, 5), "listen");
	become(0, 2003);
	at(15, check(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), 0);
	connected(15, "listener");
	at(16, check(accept(14, NULL, NULL), "accept"), 0);
	become(1004, 2004);
	pair(17, 18, SOCK_SEQPACKET);
	close(18);
	int p[2];
	become(1005, 2005);
	check(pipe(p), "pipe");
	at(19, p[0], 0);
	at(20, p[1], 0);
	become(0, 0);
	check(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE");
}

static void datagrams(void)
{
	bound(10, SOCK_DGRAM, "server");
	at(11, check(socket(AF_UNIX, SOCK_DGRAM, 0), "socket"), 0);
	connected(11, "server");
	fill(11, "anonymous");
	bound(12, SOCK_DGRAM, "@crtime-files-test-self");
	connected(12, "@crtime-files-test-self");
	fill(12, "to myself");
	at(13, check(socket(AF_UNIX, SOCK_DGRAM, 0), "socket"), 0);
}

// A client whose data wait in a connection that is not accepted.
static void eager(void)
{
	bound(10, SOCK_STREAM, "listener");
	check(listen(10, 5), "listen");
	at(11, check(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), 0);
	connected(11, "listener");
	fill(11, "hello?");
}

static void rights(void)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	pair(10, 11, SOCK_STREAM);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &null, sizeof null);
	check(sendmsg(10, &m, 0), "sendmsg");
}

static void credentials(void)
{
	int yes = 1;

	pair(10, 11, SOCK_DGRAM);
	check(setsockopt(11, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes), "SO_PASSCRED");
	fill(10, "from me");
}

static void procfiles(void)
{
	char text[8];

	open_at(10, "/proc/self/status", O_RDONLY);
	check(read(10, text, sizeof text), "read");
	open_at(11, "/proc/self/maps", O_RDONLY);
	open_at(12, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
	open_at(13, "/proc/meminfo", O_RDONLY);
	open_at(14, "/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
	open_at(15, "/proc/self", O_PATH | O_DIRECTORY);
}

static void namespaces(void)
{
	open_at(10, "/proc/self/ns/net", O_RDONLY);
	open_at(11, "/proc/self/ns/mnt", O_RDONLY);
	check(dup2(10, 12), "dup2");
}

// A terminal with both ends in the tree: a child leads a session on it, and has
// a child in the foreground.
static void terminal(int flags)
{
	char name[64];
	struct termios t;
	struct winsize w = {.ws_row = 33, .ws_col = 101, .ws_xpixel = 7, .ws_ypixel = 8};
	int packets = 1;

	at(10, check(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), "posix_openpt"), O_CLOEXEC);
	check(grantpt(10), "grantpt");
	check(unlockpt(10), "unlockpt");
	check(ptsname_r(10, name, sizeof name), "ptsname");
	check(ioctl(10, TIOCSWINSZ, &w), "TIOCSWINSZ");
	check(ioctl(10, TIOCPKT, &packets), "TIOCPKT");
	if (check(fork(), "fork") == 0) {
		check(setsid(), "setsid");
		open_at(11, name, O_RDWR | O_NOCTTY);
		check(ioctl(11, TIOCSCTTY, 0), "TIOCSCTTY");
		check(tcgetattr(11, &t), "tcgetattr");
		t.c_lflag &= ~(ECHO | ICANON);
		t.c_cc[VMIN] = 3;
		check(tcsetattr(11, TCSANOW, &t), "tcsetattr");
		check(fchmod(11, 0604), "fchmod");
		check(dup2(11, 12), "dup2");
		if (flags)
			open_at(13, "/dev/tty", flags);
		pid_t job = check(fork(), "fork");
		if (job == 0) {
			check(setpgid(0, 0), "setpgid");
			fill(1, "+");
			rest();
		}
		check(setpgid(job, job), "setpgid");
		check(tcsetpgrp(11, job), "tcsetpgrp");
		close(10);
		fill(1, "+");
		rest();
	}
}

static void ptys(void) { terminal(0); }
static void ctty(void) { terminal(O_RDWR | O_NONBLOCK); }

static void masters(void)
{
	char name[64];

	// A master whose other end was closed again, and one that never had any.
	at(14, check(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt"), 0);
	check(unlockpt(14), "unlockpt");
	check(ptsname_r(14, name, sizeof name), "ptsname");
	close(check(open(name, O_RDWR | O_NOCTTY), name));
	at(15, check(posix_openpt(O_RDONLY | O_NOCTTY), "posix_openpt"), 0);
	// A slave that was hung up.
	at(16, check(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt"), 0);
	check(unlockpt(16), "unlockpt");
	check(ptsname_r(16, name, sizeof name), "ptsname");
	open_at(17, name, O_RDWR | O_NOCTTY);
	close(16);
}

// A job of a shell outside: what the test has as input is a terminal.
static void shelljob(void)
{
	struct termios t;

	check(dup2(0, 10), "dup2");
	check(dup2(0, 11), "dup2");
	check(tcgetattr(10, &t), "tcgetattr");
	t.c_lflag &= ~ECHO;
	check(tcsetattr(10, TCSANOW, &t), "tcsetattr");
}

// A session whose terminal nobody of the tree has open. What is left in the end is
// the child: its parent, which has the other end, is not asked about.
static void lost_terminal(void)
{
	char name[64];

	at(10, check(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt"), 0);
	check(unlockpt(10), "unlockpt");
	check(ptsname_r(10, name, sizeof name), "ptsname");
	if (check(fork(), "fork") == 0) {
		check(setsid(), "setsid");
		open_at(11, name, O_RDWR);
		close(10);
		close(11);
		fill(1, "+");
		rest();
	}
}

static void unread(void)
{
	at(10, check(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt"), 0);
	check(unlockpt(10), "unlockpt");
	char name[64];
	check(ptsname_r(10, name, sizeof name), "ptsname");
	open_at(11, name, O_RDWR | O_NOCTTY);
	fill(11, "output");
	// It comes through a work queue of the kernel's.
	struct pollfd there = { .fd = 10, .events = POLLIN };
	check(poll(&there, 1, -1), "poll");
}

static void many(void)
{
	char name[32];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "file-%d", i);
		open_at(10 + i, name, O_RDWR | O_CREAT);
		fill(10 + i, name);
	}
}

// crowd is 100 processes, each of the further ones with a pipe to the first.
static void crowd(void)
{
	open_at(10, "data", O_RDWR | O_CREAT);
	for (int i = 0; i < 99; i++) {
		int ends[2];

		check(pipe2(ends, O_CLOEXEC), "pipe2");
		if (check(fork(), "fork") == 0) {
			close(ends[0]);
			at(11, ends[1], O_CLOEXEC);
			check(syscall(SYS_close_range, 100, ~0U, 0), "close_range");
			fill(1, "+");
			rest();
		}
		close(ends[1]);
		at(100 + i, ends[0], O_CLOEXEC);
	}
}

static int idle(void *unused)
{
	for (;;)
		pause();
	return unused != NULL;
}

// What cannot be saved, one of each at number 10.

static void tcp(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	at(10, check(socket(AF_INET, SOCK_STREAM, 0), "socket"), 0);
	check(bind(10, (struct sockaddr *)&a, sizeof a), "bind");
	check(listen(10, 1), "listen");
}

static void udp(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	at(10, check(socket(AF_INET6, SOCK_DGRAM, 0), "socket"), 0);
	check(bind(10, (struct sockaddr *)&a, sizeof a), "bind");
}

static void netlink(void) { at(10, check(socket(AF_NETLINK, SOCK_RAW, 0), "socket"), 0); }
static void packet(void) { at(10, check(socket(AF_PACKET, SOCK_RAW, 0), "socket"), 0); }

static void uring(void)
{
	char params[120] = {0};

	at(10, check(syscall(SYS_io_uring_setup, 1, params), "io_uring_setup"), 0);
}

static void uffd(void) { at(10, check(syscall(SYS_userfaultfd, 1), "userfaultfd"), 0); }
static void pidfd(void) { at(10, check(syscall(SYS_pidfd_open, getpid(), 0), "pidfd_open"), 0); }
static void fanotify(void) { at(10, check(syscall(SYS_fanotify_init, 0, O_RDONLY), "fanotify_init"), 0); }

static void perf(void)
{
	uint64_t attr[16] = {(uint64_t)sizeof attr << 32 | 1}; // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK

	at(10, check(syscall(SYS_perf_event_open, attr, 0, -1, -1, 0), "perf_event_open"), 0);
}

static void bpf(void)
{
	uint32_t attr[32] = {2, 4, 4, 1}; // An array with one element.

	at(10, check(syscall(SYS_bpf, 0, attr, sizeof attr), "bpf"), 0);
}

static void mqueue(void)
{
	char name[32];

	snprintf(name, sizeof name, "crtime-%d", getpid());
	at(10, check(syscall(SYS_mq_open, name, O_RDWR | O_CREAT, 0600, NULL), "mq_open"), 0);
	check(syscall(SYS_mq_unlink, name), "mq_unlink");
}

static void othernet(void)
{
	check(unshare(CLONE_NEWNET), "unshare");
	open_at(10, "/proc/self/ns/net", O_RDONLY);
}

static void secret(void) { at(10, check(syscall(SYS_memfd_secret, 0), "memfd_secret"), 0); }
static void hugememfd(void) { at(10, check(memfd_create("huge", MFD_HUGETLB), "memfd_create"), 0); }
static void init_status(void) { open_at(10, "/proc/1/status", O_RDONLY); }
static void kvm(void) { open_at(10, "/dev/kvm", O_RDWR); }
static void pathfifo(void)
{
	check(mkfifo("fifo", 0600), "mkfifo");
	open_at(10, "fifo", O_PATH);
}
static void server(void)
{
	bound(10, SOCK_STREAM, "@crtime-files-outside");
	check(listen(10, 5), "listen");
	bound(11, SOCK_DGRAM, "@crtime-files-outside-datagrams");
}
static void client(void)
{
	at(10, check(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), 0);
	connected(10, "@crtime-files-outside");
}
static void sender(void)
{
	at(10, check(socket(AF_UNIX, SOCK_DGRAM, 0), "socket"), 0);
	connected(10, "@crtime-files-outside-datagrams");
}
static void filtered(void)
{
	struct sock_filter pass = {.code = 6, .k = ~0U}; // BPF_RET
	struct sock_fprog program = {.len = 1, .filter = &pass};

	pair(10, 11, SOCK_DGRAM);
	check(setsockopt(10, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), "SO_ATTACH_FILTER");
}
static void blockdev(void)
{
	check(mknod("block", S_IFBLK | 0600, makedev(7, 0)), "mknod");
	open_at(10, "block", O_PATH);
}
static void fork_pidfd(void)
{
	pid_t child = check(fork(), "fork");

	if (child == 0) {
		fill(1, "+");
		rest();
	}
	at(10, check(syscall(SYS_pidfd_open, child, 0), "pidfd_open"), 0);
}
static void threadfs(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	check(clone(idle, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_SYSVSEM, NULL), "clone");
}
static void pipein(void) { check(dup2(0, 10), "dup2"); }

static void landlock(void)
{
	uint64_t attr[1] = {1};

	at(10, check(syscall(444, attr, sizeof attr, 0), "landlock_create_ruleset"), 0);
}

static void fscontext(void) { at(10, check(syscall(SYS_fsopen, "tmpfs", 0), "fsopen"), 0); }

static const struct {
	const char *name;
	void (*open)(void);
} modes[] = {
	{"regular", regular}, {"deleted", deleted}, {"pipes", pipes}, {"fifos", fifos}, {"memfds", memfds},
	{"locks", locks}, {"owners", owners}, {"directories", directories}, {"shared", shared}, {"linked", linked},
	{"taken", taken}, {"lease", lease}, {"large", large}, {"table", table},
	{"eventfds", eventfds},
	{"signalfds", signalfds},
	{"epolls", epolls},
	{"epolllost", epolllost},
	{"epollmoved", epollmoved},
	{"timerfds", timerfds},
	{"inotifies", inotifies},
	{"notified", notified},
	{"dnotify", dnotify},
	{"socketpairs", socketpairs},
	{"listeners", listeners},
	{"empties", empties},
	{"datagrams", datagrams},
	{"eager", eager},
	{"rights", rights},
	{"credentials", credentials},
	{"procfiles", procfiles},
	{"namespaces", namespaces},
	{"ptys", ptys},
	{"ctty", ctty},
	{"masters", masters},
	{"shelljob", shelljob},
	{"lost-terminal", lost_terminal},
	{"unread", unread},
	{"many", many},
	{"peers", peers},
	{"linked-and-notified", linked_and_notified},
	{"crowd", crowd},
	{"tcp", tcp},
	{"udp", udp},
	{"netlink", netlink},
	{"packet", packet},
	{"uring", uring},
	{"uffd", uffd},
	{"pidfd", pidfd},
	{"fanotify", fanotify},
	{"perf", perf},
	{"bpf", bpf},
	{"mqueue", mqueue},
	{"othernet", othernet},
	{"secret", secret},
	{"hugememfd", hugememfd},
	{"init-status", init_status},
	{"kvm", kvm},
	{"pathfifo", pathfifo},
	{"pipein", pipein},
	{"landlock", landlock},
	{"fscontext", fscontext},
	{"server", server},
	{"client", client},
	{"sender", sender},
	{"filtered", filtered},
	{"block", blockdev},
	{"pidfd-of-child", fork_pidfd},
	{"thread-fs", threadfs},
};

int main(int argc, char **argv)
{
	// What the test itself was started with is none of the tree's.
	check(syscall(SYS_close_range, 3, ~0U, 0), "close_range");

	null = check(open("/dev/null", O_RDWR), "/dev/null");

	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		if (argc < 2 || strcmp(argv[1], modes[i].name))
			continue;
		modes[i].open();
		if (argc > 2) // To find out whether this kernel has it.
			return 0;
		fill(1, "ready");
		rest();
	}
	errx(1, "it is not known how to open %s", argc > 1 ? argv[1] : "nothing");
}
